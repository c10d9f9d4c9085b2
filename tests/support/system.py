"""A system of its own for a test: a new virtual host, new databases, real service processes, a mail catcher."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from tests.support.mails import Mails, catching_mails
from tests.support.peer import Peer, peer
from tests.support.ports import Ports
from tests.support.servers import SERVICE_NAMES, TestServers
from tests.support.wait import wait_until
from tools.dev.instance import CHECKOUT
from tools.dev.processes import Process
from tools.dev.services import SENDER, is_ready

_START_SECONDS = 60
_STOP_SECONDS = 20
_numbers = count(1)
LIVE: set["System"] = set()
"""Systems whose logs are shown when a test fails."""


@dataclass(frozen=True)
class Running:
    """One process of a service."""

    service: str
    process: Process
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_ready(self) -> bool:
        """Whether it handles messages."""
        return is_ready(self.port)

    async def wait_ready(self) -> None:
        """Wait until it handles messages. Fails the test if it ends before."""

        def ready() -> bool:
            assert self.process.alive, f"{self.service} ended with {self.process.exit_code}:\n{self.log_end()}"
            return self.is_ready

        await wait_until(lambda: asyncio.to_thread(ready), _START_SECONDS, what=f"{self.service} is ready", every=0.1)

    async def kill(self) -> None:
        """SIGKILL: as in a power cut, no clean-up runs."""
        self.process.send(signal.SIGKILL)
        await self.wait_ended()

    async def stop(self) -> int | None:
        """SIGTERM, and wait for the end; returns the exit code."""
        self.process.send(signal.SIGTERM)
        return await self.wait_ended()

    async def wait_ended(self, timeout: float = _STOP_SECONDS) -> int | None:
        """Wait for the end; returns the exit code, negative for a signal. Fails the test if it goes on."""
        await wait_until(lambda: not self.process.alive, timeout, what=f"{self.service} ends")
        return self.process.exit_code

    def log_end(self, lines: int = 40) -> str:
        """The end of what it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass(eq=False)
class System:
    """What a test needs of the system. Nothing in it is shared with another test's system."""

    servers: TestServers
    vhost: str
    mails: Mails
    ports: Ports
    databases: dict[str, str] = field(default_factory=dict)
    processes: list[Running] = field(default_factory=list)

    def amqp_url(self, user: str) -> str:
        """Where a service or a peer of deploy/peers.yaml connects."""
        return self.servers.amqp_url(user, self.vhost)

    def database_url(self, service: str) -> str:
        """A service's database, under its own role."""
        return self.servers.database_url(service, self.databases[service])

    @asynccontextmanager
    async def database(self, service: str) -> "AsyncIterator[asyncpg.Connection[Any]]":
        """A connection to a service's database."""
        connection = await asyncpg.connect(self.database_url(service))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def peer(
        self, user: str = "checkout", *, client: str = "demo-shop", actor: str | None = None
    ) -> AsyncIterator[Peer]:
        """A connected peer of deploy/peers.yaml."""
        async with peer(self.amqp_url(user), client=client, actor=actor or f"service:{user}") as connected:
            yield connected

    async def start(self, *services: str, env: Mapping[str, str] | None = None, wait: bool = True) -> list[Running]:
        """Start processes of these services, of all without a name; again for a second instance.

        `env` adds to their environment, such as `FAILPOINT`.
        """
        started = [self._start(service, env or {}) for service in services or SERVICE_NAMES]
        if wait:
            await asyncio.gather(*(running.wait_ready() for running in started))
        return started

    async def start_one(self, service: str, *, env: Mapping[str, str] | None = None, wait: bool = True) -> Running:
        """Start one process of a service."""
        return (await self.start(service, env=env, wait=wait))[0]

    async def kill(self) -> None:
        """End every process of this system at once: nothing of it is needed any more."""
        await asyncio.gather(*(running.kill() for running in self.processes))

    async def queue_length(self, queue: str) -> int:
        """Messages in a queue, whether or not somebody has them in hand; up to half a second old."""
        found = await asyncio.to_thread(self.servers.admin.get, "queues", self.vhost, queue)
        return int(found.get("messages", 0))

    def messages_in(self, queue: str) -> list[dict[str, Any]]:
        """The messages that wait in a queue, as the broker's HTTP API shows them; they stay there."""
        what = {"count": 1000, "ackmode": "ack_requeue_true", "encoding": "auto"}
        found: list[dict[str, Any]] = self.servers.admin.post("queues", self.vhost, queue, "get", body=what)
        return found

    async def until_in(self, queue: str, timeout: float = 15) -> list[dict[str, Any]]:
        """Wait until something is in a queue, and return it."""
        return await wait_until(
            lambda: asyncio.to_thread(self.messages_in, queue), timeout, what=f"something is in {queue}"
        )

    def queue_depths(self) -> dict[str, tuple[int, int]]:
        """Of every queue that is not empty, what waits and what somebody has in hand."""
        found = self.servers.admin.get("queues", self.vhost)
        depths = {one["name"]: (one.get("messages_ready", 0), one.get("messages_unacknowledged", 0)) for one in found}
        return {name: depth for name, depth in depths.items() if any(depth)}

    def _start(self, service: str, env: Mapping[str, str]) -> Running:
        register = self.servers.instance.processes
        port = self.ports.take()
        name = f"{self.vhost}-{service}-{len(self.processes)}"
        process = register.start(
            name,
            [sys.executable, "-m", f"services.{service}"],
            environment=self._environment(service, port) | dict(env),
            folder=CHECKOUT,
            port=port,
        )
        running = Running(service, process, port, register.log(name))
        self.processes.append(running)
        return running

    def _environment(self, service: str, port: int) -> dict[str, str]:
        own = {
            "DATABASE_URL": self.database_url(service),
            "AMQP_URL": self.amqp_url(service),
            "HTTP_PORT": str(port),
            "PRINCIPALS_FILE": str(CHECKOUT / "deploy" / "peers.yaml"),
            "SMTP_URL": self.mails.url,
            "SENDER_ADDRESS": SENDER,
        }
        prefix = f"{service.upper()}_"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
        return kept | {f"{prefix}{name}": value for name, value in own.items()}


@asynccontextmanager
async def new_system(servers: TestServers) -> AsyncIterator[System]:
    """A system with nothing running in it yet; everything of it is gone afterwards."""
    vhost = f"{servers.worker}t{next(_numbers)}"
    with ExitStack() as stack:
        ports = stack.enter_context(closing(Ports()))
        mails = stack.enter_context(catching_mails(servers.instance.folder / vhost, ports))
        system = System(servers, vhost, mails, ports)
        system.databases = {service: f"{vhost}_{service}" for service in SERVICE_NAMES}
        await asyncio.gather(
            asyncio.to_thread(servers.provision_vhost, vhost),
            *(servers.new_database(service, name) for service, name in system.databases.items()),
        )
        LIVE.add(system)
        try:
            yield system
        finally:
            await system.kill()
            LIVE.discard(system)
            await asyncio.gather(
                asyncio.to_thread(servers.admin.delete, "vhosts", vhost),
                servers.drop_databases(*system.databases.values()),
            )
