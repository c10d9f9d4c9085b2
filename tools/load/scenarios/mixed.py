"""A seller's day, pressed into minutes: orders come in, staff search, look, and refund."""

from collections.abc import Iterator
from typing import ClassVar

from tools.load.keywords import Keywords
from tools.load.scenario import Scenario
from tools.load.scenarios.refund import Refund, refund_of
from tools.load.shots import Shot
from tools.load.world import World

SHARES = {"record": 25, "refund": 5, "search": 25, "find customer": 10, "purchase": 15, "mails": 10, "customer": 10}
"""Of a hundred messages; by judgement, as nobody has measured a seller's day."""


class Mixed(Scenario):
    name: ClassVar[str] = "mixed"
    summary: ClassVar[str] = "a seller's day: orders, searches, looks and refunds together"
    rate: ClassVar[float] = 40

    def __init__(self) -> None:
        self.keywords = Keywords()
        self.refunds = Refund()

    async def prepare(self, world: World, count: int) -> None:
        """Paid purchases for twice as many refunds as are to be expected, and what may be looked for."""
        await self.refunds.prepare(world, 10 + 2 * count * SHARES["refund"] // 100)
        await self.keywords.read(world)

    def shots(self, world: World) -> Iterator[Shot]:
        records, words, choice = world.baskets.records(world.prefix), self.keywords, world.choice
        kinds, weights = list(SHARES), list(SHARES.values())
        looks = {
            "search": words.purchases,
            "find customer": words.customers,
            "purchase": words.purchase,
            "mails": words.mails,
            "customer": words.customer,
        }
        while True:
            kind = choice.choices(kinds, weights)[0]
            if kind == "refund" and self.refunds.paid:
                yield refund_of(self.refunds.paid.popleft())
            elif kind in looks:
                yield looks[kind](choice)
            else:
                yield next(records)


scenario = Mixed()
