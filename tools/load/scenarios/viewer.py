"""Staff looking at purchases: the purchase with its history, its mails, its customer."""

from collections.abc import Iterator
from itertools import cycle
from typing import ClassVar

from tools.load.keywords import Keywords
from tools.load.scenario import Scenario
from tools.load.shots import Shot
from tools.load.world import World


class Viewer(Scenario):
    name: ClassVar[str] = "viewer"
    summary: ClassVar[str] = "the viewer of a purchase: purchase, mails and customer, each a query of its own"
    rate: ClassVar[float] = 60

    def __init__(self) -> None:
        self.keywords = Keywords()

    async def prepare(self, world: World, count: int) -> None:
        """Read what may be looked at."""
        await self.keywords.read(world)

    def shots(self, world: World) -> Iterator[Shot]:
        for look in cycle((self.keywords.purchase, self.keywords.mails, self.keywords.customer)):
            yield look(world.choice)


scenario = Viewer()
