"""The private broker and database of a test run: started once, gone without a trace afterwards."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy.broker_admin import BrokerAdmin
from deploy.provision import drop_databases, make_database, make_role
from deploy.services import SERVICES
from deploy.topology import Topology
from shared import migrations
from tests.support.staff import copy_staff, fill_directory
from tools.dev.instance import CHECKOUT, Instance
from tools.dev.leftovers import destroy, remove_leftovers, test_instance
from tools.dev.servers import Given, Servers
from tools.dev.system import topology_of


@dataclass
class TestServers:
    """Servers that tests may fill as they like, with a database template of each service."""

    __test__ = False

    instance: Instance
    servers: Servers
    topology: Topology
    _templates: dict[str, asyncio.Lock] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _broker: threading.Lock = field(default_factory=threading.Lock)

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
        with self._broker:
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
        name = f"template_{service}"
        async with self._templates.setdefault(service, asyncio.Lock()):
            if service not in self._ready:
                connection = await asyncpg.connect(self.database_admin_url)
                try:
                    await make_role(connection, self._role(service), self.instance.secret(f"database/{service}"))
                    await make_database(connection, name, owner=self._role(service))
                finally:
                    await connection.close()
                await migrations.upgrade(self.database_url(service, name), f"services.{service}")
                await self._introduce_staff(service, self.database_url(service, name))
                self._ready.add(service)
        return name

    async def _introduce_staff(self, service: str, url: str) -> None:
        """Every service knows the people of deploy/directory.yaml, as if it had heard of them long ago."""
        if service == "directory":
            await fill_directory(url)
        else:
            await copy_staff(self.database_url("directory", await self._template("directory")), url)

    def _role(self, service: str) -> str:
        return f"aftersale_{service}"


@contextmanager
def running_servers() -> Iterator[TestServers]:
    """Private servers for this test run. The broker may still be starting; who needs it waits for it."""
    remove_leftovers(CHECKOUT)
    instance = test_instance(CHECKOUT)
    servers = Servers(instance, given=Given(None, None, None), durable=False)
    try:
        servers.start()
        topology = topology_of(CHECKOUT)
        servers.wait_for_database()
        yield TestServers(instance, servers, topology)
    finally:
        destroy(instance)


SERVICE_NAMES = tuple(service.name for service in SERVICES)
