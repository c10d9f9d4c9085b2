"""One harness for every service: its use cases and jobs on a real database, without the broker around them."""

import inspect
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID, uuid4

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Row, Table, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from shared.contracts.message import Message
from shared.database import create_engine, create_sessions
from shared.ids import new_id
from shared.messaging.handlers import Handlers
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import RELAY, UnitOfWork, open_unit_of_work
from tests.support.servers import TestServers
from tests.support.wait import wait_until


def context(client_id: str = "acme", actor: str = "user:ada", **fields: Any) -> MessageContext:
    """A message of a flow of its own."""
    message_id: UUID = fields.pop("message_id", None) or new_id()
    correlation_id: str = fields.pop("correlation_id", f"flow-{message_id}")
    return MessageContext(client_id, actor, message_id, correlation_id, **fields)


@dataclass
class ServiceUnderTest:
    """What use cases and jobs get of a running service, and what a test wants to know afterwards."""

    name: ClassVar[str]
    outbox: ClassVar[Table]
    sessions: async_sessionmaker[AsyncSession]
    woken: set[str] = field(default_factory=set, kw_only=True)
    """Jobs that somebody wanted to look for work."""

    @asynccontextmanager
    async def work(self, context: MessageContext) -> AsyncIterator[UnitOfWork]:
        """A transaction, committed at the end of the block and rolled back if it raises."""
        async with open_unit_of_work(self.sessions, service=self.name, outbox=self.outbox, context=context) as work:
            yield work
        for job in work.woken - {RELAY}:
            self.wake(job)

    def act(
        self, client: str = "acme", actor: str = "user:ada", **fields: Any
    ) -> AbstractAsyncContextManager[UnitOfWork]:
        """A transaction for a client, by whoever wants it."""
        return self.work(context(client, actor, **fields))

    def wake(self, name: str) -> None:
        self.woken.add(name)

    async def handle(self, handlers: Handlers, message: Message, context: MessageContext) -> Any:
        """Let the handler of the message do its work, in a transaction of its own."""
        route = next(route for route in handlers.routes if route.message is type(message))
        async with self.work(context) as work:
            result = route.handler(message, work)
            assert inspect.isawaitable(result)
            return await result

    async def until_waiting(self, transactions: int = 1) -> None:
        """Return when so many transactions wait for the lock of another one."""
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )

        async def are_waiting() -> bool:
            async with self.sessions() as session:
                return bool((await session.execute(waiting)).scalar_one() >= transactions)

        await wait_until(are_waiting, what=f"{transactions} transactions wait for a lock")

    async def outbox_rows(self, *where: ColumnElement[bool]) -> Sequence[Row[Any]]:
        """What waits to be sent, in order."""
        async with self.sessions() as session:
            return (await session.execute(select(self.outbox).where(*where).order_by(self.outbox.c.id))).all()

    async def sent(self, *where: ColumnElement[bool]) -> list[Message]:
        """The same as messages."""
        rows = await self.outbox_rows(*where)
        return [TypeAdapter(Message.registered[row.routing_key]).validate_json(row.body) for row in rows]


@asynccontextmanager
async def database_of(servers: TestServers, service: str) -> AsyncIterator[str]:
    """A database of a service with this release's schema; its address, as the service's own role."""
    name = f"{service}_{uuid4().hex[:12]}"
    try:
        yield await servers.new_database(service, name)
    finally:
        await servers.drop_databases(name)


@asynccontextmanager
async def sessions_of(
    database_url: str, service: str, *, connections: int = 16
) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Sessions on such a database."""
    engine = create_engine(database_url, service=service, pool_size=connections)
    try:
        yield create_sessions(engine)
    finally:
        await engine.dispose()
