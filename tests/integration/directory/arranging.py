"""Clients and people as tests need them, made through the use cases."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

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
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork, open_unit_of_work

SYSTEM = "service:directory"


@dataclass
class Directory:
    """The directory as its use cases see it, on a real database."""

    sessions: async_sessionmaker[AsyncSession]

    @asynccontextmanager
    async def work(self, client: str = PLATFORM, actor: str = SYSTEM) -> AsyncIterator[UnitOfWork]:
        context = MessageContext(
            client_id=client, actor=actor, message_id=new_id(), correlation_id=f"flow-{uuid4().hex}"
        )
        outbox = DirectoryTables.outbox
        async with open_unit_of_work(self.sessions, service="directory", outbox=outbox, context=context) as work:
            yield work

    async def sent(self, record: str) -> list[Message]:
        """What stands in the outbox about a record, in order."""
        outbox = DirectoryTables.outbox
        statement = select(outbox.c.routing_key, outbox.c.body).where(outbox.c.order_key == record)
        async with self.sessions() as session:
            rows = (await session.execute(statement.order_by(outbox.c.id))).all()
        return [TypeAdapter(Message.registered[key]).validate_json(body) for key, body in rows]

    async def client(self, **settings: Any) -> str:
        """A new client; returns its id."""
        client_id = f"shop-{uuid4().hex[:10]}"
        async with self.work(client_id) as work:
            command = ConfigureClient(settings=ClientSettings(**({"name": "Shop"} | settings)))
            await configure_client(work, command)
        return client_id

    async def user(self, client: str, *roles: Role, actor: str = SYSTEM, **fields: Any) -> str:
        """A new user with these roles for the client; returns the name."""
        name = f"user-{uuid4().hex[:10]}"
        async with self.work(client, actor) as work:
            await save_user(work, person(name, **fields))
        if roles:
            await self.assign(client, name, *roles, actor=actor)
        return name

    async def assign(self, client: str, user: str, *roles: Role, actor: str = SYSTEM, **fields: Any) -> UserSaved:
        async with self.work(client, actor) as work:
            return await assign_roles(work, AssignRoles(user=user, roles=roles, **fields))


def person(name: str, **fields: Any) -> SaveUser:
    return SaveUser(**({"name": name, "display_name": "Somebody", "email": f"{name}@example.com"} | fields))
