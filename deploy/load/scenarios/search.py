"""Standard searches for purchases and customers, by what really stands in the databases."""

from collections.abc import Iterator
from itertools import cycle
from typing import ClassVar

from deploy.load.keywords import Keywords
from deploy.load.scenario import Scenario
from deploy.load.shots import Shot
from deploy.load.world import World


class Search(Scenario):
    name: ClassVar[str] = "search"
    summary: ClassVar[str] = (
        "purchases and customers found by each sort of keyword; every second message records a purchase"
    )
    rate: ClassVar[float] = 60

    def __init__(self) -> None:
        self.keywords = Keywords()

    async def prepare(self, world: World, count: int) -> None:
        """Read what may be looked for."""
        await self.keywords.read(world)

    def shots(self, world: World) -> Iterator[Shot]:
        for record, look in zip(
            world.baskets.records(world.prefix), cycle((self.keywords.purchases, self.keywords.customers)), strict=False
        ):
            yield look(world.choice)
            yield record


scenario = Search()
