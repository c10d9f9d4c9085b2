"""Messages about the same record are handled one after the other, in the order they came; others side by side."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Lanes:
    """One first-in-first-out lane per record."""

    def __init__(self) -> None:
        self._lanes: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def enter(self, record: str | None) -> AsyncIterator[None]:
        """Wait for the turn of this record; no record, no waiting."""
        if record is None:
            yield
            return
        lock, waiting = self._lanes.get(record, (asyncio.Lock(), 0))
        self._lanes[record] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._lanes[record]
            if waiting == 1:
                del self._lanes[record]
            else:
                self._lanes[record] = (lock, waiting - 1)
