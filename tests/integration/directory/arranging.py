"""Clients and people as tests need them, made through the use cases."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import uuid4

from services.directory.client import configure_client
from services.directory.models import DirectoryTables
from services.directory.user import assign_roles, save_user
from shared.contracts.directory import (
    PLATFORM,
    AssignRoles,
    ClientSettings,
    ConfigureClient,
    SaveUser,
    UserSaved,
)
from shared.contracts.message import Message
from shared.contracts.permissions import Role
from shared.messaging.unit_of_work import UnitOfWork
from tests.support.service import ServiceUnderTest

SYSTEM = "service:directory"


@dataclass
class Directory(ServiceUnderTest):
    """The directory as its use cases see it, on a real database."""

    name: ClassVar = "directory"
    outbox: ClassVar = DirectoryTables.outbox

    def act(
        self, client: str = PLATFORM, actor: str = SYSTEM, **fields: Any
    ) -> AbstractAsyncContextManager[UnitOfWork]:
        return super().act(client, actor, **fields)

    async def sent_about(self, record: str) -> list[Message]:
        """What stands in the outbox about a record, in order."""
        return await self.sent(self.outbox.c.order_key == record)

    async def client(self, **settings: Any) -> str:
        """A new client; returns its id."""
        client_id = f"shop-{uuid4().hex[:10]}"
        async with self.act(client_id) as work:
            command = ConfigureClient(settings=ClientSettings(**({"name": "Shop"} | settings)))
            await configure_client(work, command)
        return client_id

    async def user(self, client: str, *roles: Role, actor: str = SYSTEM, **fields: Any) -> str:
        """A new user with these roles for the client; returns the name."""
        name = f"user-{uuid4().hex[:10]}"
        async with self.act(client, actor) as work:
            await save_user(work, person(name, **fields))
        if roles:
            await self.assign(client, name, *roles, actor=actor)
        return name

    async def assign(self, client: str, user: str, *roles: Role, actor: str = SYSTEM, **fields: Any) -> UserSaved:
        async with self.act(client, actor) as work:
            return await assign_roles(work, AssignRoles(user=user, roles=roles, **fields))


def person(name: str, **fields: Any) -> SaveUser:
    return SaveUser(**({"name": name, "display_name": "Somebody", "email": f"{name}@example.com"} | fields))
