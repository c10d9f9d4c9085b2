"""The private brokers and databases of a test run: started once, gone without a trace afterwards."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy.broker_admin import BrokerAdmin
from deploy.provision import drop_databases, make_database, make_role
from deploy.services import SERVICES
from deploy.topology import Topology
from shared import migrations
from tests.support.staff import copy_staff, fill_directory
from tools.dev.instance import CHECKOUT, Instance
from tools.dev.leftovers import destroy, new_instance
from tools.dev.servers import Given, Servers
from tools.dev.system import topology_of


@dataclass
class TestServers:
    """Servers that tests may fill as they like, with a database template of each service.

    Several processes of a test run may hold the same ones; what must be done once is done by whoever comes first,
    under a lock that the others wait for.
    """

    __test__ = False

    instance: Instance
    servers: Servers
    topology: Topology
    worker: str = ""
    """Begins the names of what this process makes, so that it meets nothing of the others."""

    def start(self) -> None:
        """Start what does not run. The broker may take a moment after that; who needs it waits for it."""
        with _locked(self.instance, "servers"):
            self.servers.start()
            self.servers.wait_for_database()

    @property
    def database_admin_url(self) -> str:
        """The database server's administrator."""
        return self.servers.database_admin_url

    @property
    def admin(self) -> BrokerAdmin:
        """The broker's administrator."""
        admin = self.servers.admin
        assert admin is not None
        return admin

    def database_url(self, service: str, database: str) -> str:
        """A database as the service sees it, under its own role."""
        return urlunsplit(urlsplit(self.servers.database_url(service))._replace(path=f"/{database}"))

    def amqp_url(self, user: str, vhost: str) -> str:
        """A virtual host as a service or peer sees it."""
        return self.servers.amqp_url(user, vhost=vhost)

    def provision_vhost(self, vhost: str) -> None:
        """A virtual host with the whole topology and everybody's rights, as in production."""
        with _locked(self.instance, "broker"):
            self.servers.wait_for_broker()
            self.servers.provision_broker(self.topology, vhost=vhost)

    async def new_database(self, service: str, name: str) -> str:
        """A database of a service with this release's schema; returns its address."""
        template = await self._template(service)
        connection = await asyncpg.connect(self.database_admin_url)
        try:
            role = self._role(service)
            await make_database(connection, name, owner=role, template=template)
        finally:
            await connection.close()
        return self.database_url(service, name)

    async def drop_databases(self, *names: str) -> None:
        """Delete databases, ending whoever is connected."""
        connection = await asyncpg.connect(self.database_admin_url)
        try:
            await drop_databases(connection, names)
        finally:
            await connection.close()

    async def _template(self, service: str) -> str:
        if not self._is_ready(service):
            # One after the other: Alembic knows one migration at a time in a process.
            async with _locked_aside(self.instance, "templates"):
                for needed in ("directory", service):
                    if not self._is_ready(needed):
                        await self._make_template(needed)
                        self._ready_file(needed).touch()
        return _template_name(service)

    async def _make_template(self, service: str) -> None:
        name = _template_name(service)
        connection = await asyncpg.connect(self.database_admin_url)
        try:
            await make_role(connection, self._role(service), self.instance.secret(f"database/{service}"))
            await make_database(connection, name, owner=self._role(service))
        finally:
            await connection.close()
        await migrations.upgrade(self.database_url(service, name), f"services.{service}")
        await self._introduce_staff(service, self.database_url(service, name))

    async def _introduce_staff(self, service: str, url: str) -> None:
        """Every service knows the people of deploy/directory.yaml, as if it had heard of them long ago."""
        if service == "directory":
            await fill_directory(url)
        else:
            await copy_staff(self.database_url("directory", _template_name("directory")), url)

    def _is_ready(self, service: str) -> bool:
        return self._ready_file(service).exists()

    def _ready_file(self, service: str) -> Path:
        """Made when the template is: whatever process looks."""
        return self.instance.folder / f"{_template_name(service)}.ready"

    def _role(self, service: str) -> str:
        return f"aftersale_{service}"


def _template_name(service: str) -> str:
    return f"template_{service}"


def servers_of(instance: Instance, worker: str = "") -> TestServers:
    """The servers of an instance, whoever started them or will."""
    return TestServers(
        instance, Servers(instance, given=Given(None, None, None), for_tests=True), topology_of(CHECKOUT), worker
    )


@contextmanager
def own_servers(purpose: str) -> Iterator[TestServers]:
    """A second broker and database, for tests that take theirs away from everybody who uses them."""
    instance = new_instance(CHECKOUT, purpose)
    try:
        servers = servers_of(instance)
        servers.start()
        yield servers
    finally:
        destroy(instance)


@contextmanager
def _locked(instance: Instance, what: str) -> Iterator[None]:
    with (instance.folder / f"{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@asynccontextmanager
async def _locked_aside(instance: Instance, what: str) -> AsyncIterator[None]:
    """The same without keeping the event loop waiting."""
    lock = _locked(instance, what)
    await asyncio.to_thread(lock.__enter__)
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


SERVICE_NAMES = tuple(service.name for service in SERVICES)
