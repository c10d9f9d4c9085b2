"""When something outside is gone, work waits instead of failing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from shared.observability.logs import logger
from shared.observability.metrics import Metrics

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0


class CircuitBreaker:
    """Open while a dependency is away. One probe asks for it; everybody else waits. One log line per change."""

    def __init__(self, dependency: str, probe: Callable[[], Awaitable[None]], metrics: Metrics) -> None:
        self.dependency = dependency
        self._probe = probe
        self._closed = asyncio.Event()
        self._closed.set()
        self._probing: asyncio.Task[None] | None = None
        self._state = metrics.circuit_state.labels(dependency)
        self._state.set(0)

    @property
    def is_open(self) -> bool:
        return not self._closed.is_set()

    async def wait(self) -> None:
        """Return once the dependency is there."""
        await self._closed.wait()

    def trip(self, error: BaseException) -> None:
        """The dependency failed just now."""
        if self.is_open:
            return
        self._closed.clear()
        self._state.set(2)
        logger().warning("dependency_lost", dependency=self.dependency, error=error)
        self._probing = asyncio.create_task(self._until_back(), name=f"probe {self.dependency}")

    def stop(self) -> None:
        """Stop probing; the process ends."""
        if self._probing is not None:
            self._probing.cancel()

    async def _until_back(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            try:
                await self._probe()
            except Exception:  # noqa: BLE001 - whatever it says, it is not back
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            self._closed.set()
            self._state.set(0)
            logger().info("dependency_back", dependency=self.dependency)
            return
