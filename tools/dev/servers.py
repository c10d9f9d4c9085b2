"""The broker and the database of an instance: private ones, or those that the environment names."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import asyncpg

from deploy.broker_admin import BrokerAdmin, BrokerRefused
from deploy.provision import (
    ProvisioningFailed,
    declare_without_admin,
    provision_broker,
    provision_counting,
    provision_databases_now,
)
from deploy.topology import Topology
from tools.dev.failure import SetupFailed
from tools.dev.instance import Instance
from tools.dev.postgres import PostgreSQL
from tools.dev.rabbitmq import VHOST, RabbitMQ

DATABASE_URL: Final = "AFTERSALE_DATABASE_URL"
AMQP_URL: Final = "AFTERSALE_AMQP_URL"
AMQP_ADMIN_URL: Final = "AFTERSALE_AMQP_ADMIN_URL"
_YOUNG_FIGURES_MS: Final = 500
_SHARED_DATABASE_USER: Final = (
    "The database user of AFTERSALE_DATABASE_URL may not make roles: one user owns every service's database, "
    "so the services are not kept apart there."
)
_SHARED_BROKER_USER: Final = (
    "Without AFTERSALE_AMQP_ADMIN_URL one broker user serves everybody: isolation is off. Senders cannot be told "
    "apart, and queues have no limits."
)


@dataclass(frozen=True)
class Given:
    """Servers that exist, from the environment."""

    database: str | None
    amqp: str | None
    amqp_admin: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Given":
        """Raises SetupFailed where half of the broker is named."""
        given = cls(
            environment.get(DATABASE_URL) or None,
            environment.get(AMQP_URL) or None,
            environment.get(AMQP_ADMIN_URL) or None,
        )
        if given.amqp_admin and not given.amqp:
            raise SetupFailed(f"{AMQP_ADMIN_URL} is set, but {AMQP_URL} is not", f"Set {AMQP_URL} too.")
        return given


class Servers:
    """Starts what is private, and knows the address of everything."""

    def __init__(
        self,
        instance: Instance,
        say: Callable[[str], None] = lambda _: None,
        *,
        given: Given | None = None,
        for_tests: bool = False,
    ) -> None:
        """`for_tests`: the database does not wait for the disk, and the broker's figures are younger than a second."""
        self._instance = instance
        self._say = say
        self._given = given or Given.from_environment(os.environ)
        self._for_tests = for_tests
        self._postgres = None if self._given.database else PostgreSQL(instance, say)
        self._rabbitmq = None if self._given.amqp else RabbitMQ(instance, say)

    @property
    def isolated(self) -> bool:
        """Whether every service and peer has a broker user of its own."""
        return self._rabbitmq is not None or self._given.amqp_admin is not None

    @property
    def vhost(self) -> str:
        path = urlsplit(self._given.amqp).path if self._given.amqp else ""
        return unquote(path[1:]) or ("/" if self._given.amqp else VHOST)

    @property
    def database_admin_url(self) -> str:
        return self._postgres.url if self._postgres else str(self._given.database)

    @property
    def admin(self) -> BrokerAdmin | None:
        """The broker's HTTP API, where there is access to it."""
        if self._rabbitmq:
            return BrokerAdmin(self._rabbitmq.admin_url)
        return BrokerAdmin(self._given.amqp_admin) if self._given.amqp_admin else None

    def start(self) -> list[str]:
        """Start the private servers that do not run; returns their names. They need a moment: see the waits."""
        names = []
        for name, server in (("rabbitmq", self._rabbitmq), ("postgres", self._postgres)):
            if server is None or self._instance.processes.find(name):
                continue
            if isinstance(server, PostgreSQL):
                server.start(durable=not self._for_tests)
            else:
                server.start(figures_every_ms=_YOUNG_FIGURES_MS if self._for_tests else None)
            names.append(name)
        return names

    def wait_for_database(self) -> None:
        """Raises SetupFailed if the database does not answer."""
        if self._postgres:
            self._postgres.wait()

    def wait_for_broker(self) -> None:
        """Raises SetupFailed if the broker does not answer."""
        if self._rabbitmq:
            self._rabbitmq.wait()

    def stop(self, name: str) -> None:
        """Stop one private server by its name."""
        if name == "rabbitmq" and self._rabbitmq:
            self._rabbitmq.stop()
        elif name == "postgres" and self._postgres:
            self._postgres.stop()

    def private(self) -> list[str]:
        """The servers that belong to this instance."""
        return [name for name, server in (("postgres", self._postgres), ("rabbitmq", self._rabbitmq)) if server]

    def amqp_url(self, user: str, *, vhost: str | None = None) -> str:
        """Where a service or peer connects, with its own user; without isolation the one that everybody uses."""
        if self._rabbitmq:
            return self._rabbitmq.url_for(user, self._instance.secret(f"amqp/{user}"), vhost or self.vhost)
        if not self.isolated:
            return str(self._given.amqp)
        return _as_user(str(self._given.amqp), user, self._instance.secret(f"amqp/{user}"))

    def database_url(self, service: str) -> str:
        """Where a service finds its database, with its own role where roles can be made."""
        database = database_name(service)
        url = self.database_admin_url
        if not self._makes_roles:
            return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
        return _as_user(url, database, self._instance.secret(f"database/{service}"), path=f"/{database}")

    def provision_database(self, services: list[str]) -> None:
        """A database for each service, and a role of its own where that is allowed."""
        try:
            if self._makes_roles:
                wanted = {database_name(name): self._instance.secret(f"database/{name}") for name in services}
                provision_databases_now(self.database_admin_url, wanted)
                if self._postgres:
                    asyncio.run(provision_counting(self.database_admin_url))
            else:
                self._say(_SHARED_DATABASE_USER)
                asyncio.run(self._make_databases([database_name(name) for name in services]))
        except (asyncpg.PostgresError, OSError) as error:
            raise SetupFailed(f"the databases cannot be made: {error}", f"Check {DATABASE_URL}.") from error

    def provision_broker(self, topology: Topology, *, vhost: str | None = None) -> None:
        """Exchanges, queues, bindings; with an administrator also users, rights and limits."""
        try:
            if admin := self.admin:
                passwords = {user.name: self._instance.secret(f"amqp/{user.name}") for user in topology.users}
                provision_broker(admin, topology, vhost=vhost or self.vhost, passwords=passwords)
            else:
                self._say(_SHARED_BROKER_USER)
                asyncio.run(declare_without_admin(str(self._given.amqp), topology))
        except (ProvisioningFailed, BrokerRefused, OSError) as error:
            raise SetupFailed(f"the broker cannot be provisioned: {error}") from error

    @cached_property
    def _makes_roles(self) -> bool:
        return self._postgres is not None or asyncio.run(self._may_make_roles())

    async def _may_make_roles(self) -> bool:
        try:
            connection = await asyncpg.connect(self.database_admin_url, timeout=10)
        except (OSError, asyncpg.PostgresError, TimeoutError) as error:
            raise SetupFailed(f"PostgreSQL does not let us in: {error}", f"Check {DATABASE_URL}.") from error
        try:
            return bool(
                await connection.fetchval(
                    "SELECT rolsuper OR (rolcreaterole AND rolcreatedb) FROM pg_roles WHERE rolname = current_user"
                )
            )
        finally:
            await connection.close()

    async def _make_databases(self, names: list[str]) -> None:
        connection = await asyncpg.connect(self.database_admin_url, timeout=10)
        try:
            for name in names:
                if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                    await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()


def database_name(service: str) -> str:
    """The database of a service, and the role that owns it."""
    return f"aftersale_{service}"


def _as_user(url: str, user: str, password: str, path: str | None = None) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        parts._replace(netloc=f"{quote(user)}:{quote(password)}@{host}", path=parts.path if path is None else path)
    )
