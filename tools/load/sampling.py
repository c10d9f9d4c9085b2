"""Figures of the system while it is under load, once a second: processor time, memory, queues, what waits."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from deploy.broker_admin import BrokerRefused
from tools.demo.memory import descendants, memory_of
from tools.load.world import World

_EVERY_SECONDS: Final = 1.0
_MEMORY_EVERY: Final = 3
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")
_SENT: Final = "SELECT count(*) FROM email WHERE id >= $1 AND state = 'sent'"
_OUTBOX: Final = "SELECT count(*) FROM outbox WHERE set_aside_at IS NULL"
GENERATOR: Final = "load generator"
OTHERS: Final = "others on this machine"


@dataclass
class Sample:
    """One look at the system. Processor time in cores, memory in bytes."""

    at: float
    sent: int = 0
    answered: int = 0
    mailed: int = 0
    """Mails of this run that the SMTP server has accepted."""
    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    queues: dict[str, int] = field(default_factory=dict)
    """Messages by queue; the broker's own figures, up to five seconds old."""
    outboxes: dict[str, int] = field(default_factory=dict)


class Sampler:
    """Looks at the system until told to stop."""

    def __init__(self, world: World, counts: Callable[[], tuple[int, int]], clock: Callable[[], float]) -> None:
        self._world = world
        self._counts = counts
        self._clock = clock
        self._databases: dict[str, asyncpg.Connection[Any]] = {}
        self._first_mail = UUID(int=(int(time.time() * 1000) << 80))
        self._cpu: dict[str, float] = {}
        self._looking = asyncio.Lock()
        self._looked = time.monotonic()
        self._processes = dict(world.pids) | {GENERATOR: os.getpid()}
        # The generator may have started the system itself; then the services are its children.
        self._parts = frozenset(self._processes.values())
        self.samples: list[Sample] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Sampler"]:
        """Look once a second for the length of the block."""
        for service, url in self._world.database_urls.items():
            self._databases[service] = await asyncpg.connect(url, timeout=10)
        self._cpu_since_last()
        looking = asyncio.create_task(self._loop())
        try:
            yield self
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            for database in self._databases.values():
                await database.close()

    async def look(self) -> Sample:
        """Take a sample now."""
        async with self._looking:
            return await self._look()

    async def _look(self) -> Sample:
        sent, answered = self._counts()
        sample = Sample(round(self._clock(), 2), sent, answered)
        sample.cpu = self._cpu_since_last()
        if not self.samples or len(self.samples) % _MEMORY_EVERY == 0:
            sample.memory = self._memory()
        else:
            sample.memory = self.samples[-1].memory
        sample.mailed = await self._databases["notifications"].fetchval(_SENT, self._first_mail)
        for service, database in self._databases.items():
            sample.outboxes[service] = await database.fetchval(_OUTBOX)
        sample.queues = await self.queues()
        return sample

    async def queues(self) -> dict[str, int]:
        """Messages in each queue of the services, as far as the broker tells."""
        admin = self._world.admin
        if admin is None:
            return {}
        try:
            found = await asyncio.to_thread(admin.get, "queues", self._world.vhost)
        except (BrokerRefused, OSError):
            return {}
        return {
            one["name"]: int(one.get("messages", 0))
            for one in found or ()
            if not one["name"].startswith(("ext.", "replies."))
        }

    async def _loop(self) -> None:
        while True:
            started = time.monotonic()
            with contextlib.suppress(asyncpg.PostgresError, OSError, asyncpg.InterfaceError):
                self.samples.append(await self.look())
            await asyncio.sleep(max(0.1, _EVERY_SECONDS - (time.monotonic() - started)))

    def _memory(self) -> dict[str, int]:
        found = {name: memory_of(pid, self._parts) for name, pid in self._processes.items()}
        return {name: memory.now for name, memory in found.items() if memory is not None}

    def _cpu_since_last(self) -> dict[str, float]:
        """Cores used by each part since the last look; what the rest of the machine used stands beside it."""
        now = time.monotonic()
        totals = {name: _seconds_of(pid, self._parts) for name, pid in self._processes.items()}
        machine = _machine_seconds()
        passed = max(1e-3, now - self._looked)
        used = {
            name: max(0.0, (total - self._cpu[name]) / passed) for name, total in totals.items() if name in self._cpu
        }
        if machine is not None and OTHERS in self._cpu:
            used[OTHERS] = max(0.0, (machine - self._cpu[OTHERS]) / passed - sum(used.values()))
        self._cpu = totals | ({} if machine is None else {OTHERS: machine})
        self._looked = now
        return {name: round(cores, 3) for name, cores in used.items()}


def _seconds_of(pid: int, apart: Collection[int]) -> float:
    """Processor time of a process, of its children that live but are not `apart`, and of those that have ended."""
    own = _times(pid, with_ended=True)
    return own + sum(_times(child, with_ended=False) for child in descendants(pid, apart))


def _times(pid: int, *, with_ended: bool) -> float:
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    user, system, ended_user, ended_system = (int(ticks) for ticks in fields[11:15])
    return (user + system + (ended_user + ended_system if with_ended else 0)) / _TICKS


def _machine_seconds() -> float | None:
    try:
        user, nice, system, _, _, irq, soft = (
            int(ticks) for ticks in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:8]
        )
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + soft) / _TICKS
