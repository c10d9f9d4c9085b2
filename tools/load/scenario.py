"""What a scenario is."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import ClassVar

from tools.load import scenarios
from tools.load.gun import Gun
from tools.load.shots import Shot
from tools.load.world import World


class Scenario:
    """A sort of load. Each is a module of `tools.load.scenarios` with an object `scenario`."""

    name: ClassVar[str]
    summary: ClassVar[str]
    rate: ClassVar[float]
    """Messages per second unless told otherwise."""

    async def prepare(self, world: World, count: int) -> None:
        """Have ready what so many messages need; called again before every step of a ceiling."""

    def shots(self, world: World) -> Iterator[Shot]:
        """The messages, without an end."""
        raise NotImplementedError

    async def run(self, world: World, gun: Gun, shots: Iterator[Shot], rate: float, seconds: float) -> None:
        """Send at this rate for so long."""
        await gun.fire(shots, rate, seconds)


def all_scenarios() -> dict[str, Scenario]:
    """Every scenario by its name."""
    modules = (importlib.import_module(f"{scenarios.__name__}.{found.name}") for found in _modules())
    return {module.scenario.name: module.scenario for module in modules}


def _modules() -> list[pkgutil.ModuleInfo]:
    return list(pkgutil.iter_modules(scenarios.__path__))
