"""Orders of a shop, each with its payment, as its checkout sends them."""

from collections.abc import Iterator
from typing import ClassVar

from tools.load.scenario import Scenario
from tools.load.shots import Shot
from tools.load.world import World


class Record(Scenario):
    name: ClassVar[str] = "record"
    summary: ClassVar[str] = "purchases recorded, until the receipt is delivered and every listener is done"
    rate: ClassVar[float] = 30

    def shots(self, world: World) -> Iterator[Shot]:
        return world.baskets.records(world.prefix)


scenario = Record()
