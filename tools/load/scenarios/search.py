"""Standard searches for purchases and customers, by what really stands in the databases."""

from collections.abc import Iterator
from itertools import cycle
from typing import ClassVar, Final

from tools.load.keywords import Keywords
from tools.load.scenario import Scenario
from tools.load.shots import Shot
from tools.load.world import World

_ORDER: Final = (True, True, True, False, True, True, False)
"""At 70 messages a second 50 purchases are recorded and 20 searches answered."""


class Search(Scenario):
    name: ClassVar[str] = "search"
    summary: ClassVar[str] = (
        "purchases and customers found by each sort of keyword, while five purchases are recorded for two searches"
    )
    rate: ClassVar[float] = 70

    def __init__(self) -> None:
        self.keywords = Keywords()

    async def prepare(self, world: World, count: int) -> None:
        """Read what may be looked for."""
        await self.keywords.read(world)

    def shots(self, world: World) -> Iterator[Shot]:
        looks = cycle((self.keywords.purchases, self.keywords.customers))
        records = world.baskets.records(world.prefix)
        for is_record in cycle(_ORDER):
            yield next(records) if is_record else next(looks)(world.choice)


scenario = Search()
