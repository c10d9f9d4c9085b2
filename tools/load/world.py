"""The running system that is loaded, as the load tool sees it."""

import random
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import asyncpg

from deploy.broker_admin import BrokerAdmin
from tools.client import Client
from tools.demo.orders import CLIENT
from tools.load.baskets import Baskets
from tools.load.shots import CHECKOUT, CONSOLE

STAFF = "user:sam"
"""A support agent of deploy/directory.yaml, in whose name the console asks."""


@dataclass
class World:
    """Addresses and data. Nothing is opened before it is used."""

    amqp_urls: Mapping[str, str]
    """Of the peers checkout and console."""
    database_urls: Mapping[str, str]
    """Of each service; as the administrator where the server is ours, so that the services' own statements can be told
    from the tool's."""
    maildir: Path
    database_admin_url: str | None = None
    http_urls: Mapping[str, str] = field(default_factory=dict)
    admin: BrokerAdmin | None = None
    vhost: str = "/"
    pids: Mapping[str, int] = field(default_factory=dict)
    client_id: str = CLIENT
    prefix: str = field(default_factory=lambda: f"L{secrets.token_hex(4)}-")
    """All orders of a run begin with it."""
    choice: random.Random = field(default_factory=lambda: random.Random(11))  # noqa: S311 - a load, not a secret

    @cached_property
    def baskets(self) -> Baskets:
        return Baskets.load()

    def senders(self) -> dict[str, Client]:
        """The peers in whose name messages are sent."""
        actors = {CHECKOUT: f"service:{CHECKOUT}", CONSOLE: STAFF}
        return {
            peer: Client(url, client=self.client_id, actor=actors[peer], app="load")
            for peer, url in self.amqp_urls.items()
        }

    @asynccontextmanager
    async def database(self, service: str) -> "AsyncIterator[asyncpg.Connection[Any]]":
        """A connection to a service's database, past the service."""
        connection = await asyncpg.connect(self.database_urls[service], timeout=10)
        try:
            yield connection
        finally:
            await connection.close()
