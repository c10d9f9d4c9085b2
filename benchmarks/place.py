"""Where the benchmarks run: a private broker and database server, and processes that end with the block."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import yaml
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.hop import ACCOUNTS, LEDGER, TALLY, Account, BookDeposit, DepositBooked, LedgerTables, TallyTables
from deploy.topology import Topology, build
from shared.messaging.inbound.authorization import Principal
from tools.dev.instance import CHECKOUT, Instance
from tools.dev.processes import Process
from tools.dev.servers import Given, Servers

PEER: Final = "bench"
_SERVICES: Final = {"ledger": LedgerTables, "tally": TallyTables}
_STOP_SECONDS: Final = 15
_PORTS: Final = {"ledger": 20, "tally": 21}


@dataclass
class Place:
    """The servers with nothing in them but what a hop needs."""

    instance: Instance
    servers: Servers
    vhost: str = ""

    def amqp_url(self, user: str) -> str:
        return self.servers.amqp_url(user, vhost=self.vhost)

    def database_url(self, service: str) -> str:
        return self.servers.database_url(service)

    def port(self, service: str) -> int:
        """Where a service answers over HTTP."""
        return self.instance.first_port() + _PORTS[service]

    def renew(self) -> None:
        """Queues and tables without a trace of an earlier round."""
        admin = self.servers.admin
        if admin is None:
            raise RuntimeError("the private broker has an administrator")
        # A new name each time: the broker is still taking the old queues apart when the old host is gone.
        if self.vhost:
            admin.delete("vhosts", self.vhost)
        self.vhost = f"bench-{uuid4().hex[:8]}"
        self.servers.provision_broker(_topology(), vhost=self.vhost)
        asyncio.run(self._new_tables())

    def environment(self, batch: int) -> dict[str, str]:
        """The settings of both services."""
        file = self.instance.folder / "peers.yaml"
        known = {PEER: _peer(), LEDGER.name: _ledger()}
        peers = {name: principal.model_dump(mode="json", exclude_defaults=True) for name, principal in known.items()}
        file.write_text(yaml.safe_dump({"peers": peers}))
        own = {"PYTHONPATH": str(CHECKOUT)}
        for service in _PORTS:
            own |= {
                f"{service.upper()}_{name}": value
                for name, value in {
                    "DATABASE_URL": self.database_url(service),
                    "AMQP_URL": self.amqp_url(service),
                    "HTTP_PORT": str(self.port(service)),
                    "PRINCIPALS_FILE": str(file),
                    "BATCH": str(batch),
                    "PREFETCH": "100",
                }.items()
            }
        return dict(os.environ) | own

    @contextmanager
    def processes(
        self, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]
    ) -> Iterator[list[Process]]:
        """Python modules that run for the length of the block, started in this order."""
        register = self.instance.processes
        started: list[Process] = []
        try:
            for name, command in commands.items():
                started.append(
                    register.start(name, [sys.executable, "-m", *command], environment=environment, folder=CHECKOUT)
                )
            yield started
        finally:
            for process in started:
                process.stop(_STOP_SECONDS)
                register.forget(process.name)

    def log(self, name: str) -> Path:
        return self.instance.processes.log(name)

    async def _new_tables(self) -> None:
        for service, tables in _SERVICES.items():
            engine = create_async_engine(self.database_url(service).replace("postgresql://", "postgresql+asyncpg://"))
            async with engine.begin() as connection:
                await connection.run_sync(tables.metadata.drop_all)
                await connection.run_sync(tables.metadata.create_all)
                if service == "ledger":
                    rows = [{"id": number, "balance": 0, "version": 1} for number in range(1, ACCOUNTS + 1)]
                    await connection.execute(insert(Account), rows)
            await engine.dispose()


@contextmanager
def place() -> Iterator[Place]:
    """Private servers, durable as in production; they stop at the end and keep nothing that matters."""
    instance = Instance("benchmarks")
    servers = Servers(instance, given=Given(None, None, None))
    instance.ensure_ports()
    with instance.lock():
        started = servers.start()
    try:
        servers.wait_for_database()
        servers.provision_database(list(_SERVICES))
        servers.wait_for_broker()
        yield Place(instance, servers)
    finally:
        with instance.lock():
            for name in started:
                servers.stop(name)


def wait(until: float) -> None:
    """Sleep up to a moment of the monotonic clock."""
    time.sleep(max(0.0, until - time.monotonic()))


def _peer() -> Principal:
    return Principal(sends=frozenset({BookDeposit.key}), clients="*", acts_for=(f"service:{PEER}",))


def _ledger() -> Principal:
    """To the plumbing our services here are strangers: its events carry on what the peer was allowed."""
    return Principal(sends=frozenset({DepositBooked.key}), clients="*", acts_for=(f"service:{PEER}",))


def _topology() -> Topology:
    return build([LEDGER, TALLY], {PEER: _peer()})
