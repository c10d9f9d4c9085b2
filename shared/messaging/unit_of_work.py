"""One piece of work: a session, where it comes from, and what it sends."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from shared.contracts.message import Command, Event, Message
from shared.ids import new_id
from shared.messaging import names
from shared.messaging.message_context import MessageContext
from shared.messaging.transaction.deferred_inserts import defer_inserts, insert_deferred
from shared.messaging.transaction.locked_records import locked

R = TypeVar("R")
RELAY: Final = "relay"
"""Among the names that are woken: something is to be sent."""


@dataclass(frozen=True)
class UnitOfWork:
    """What a use case gets. It reads and writes through `session` and sends through `publish` and `command`.

    Use cases never commit, never publish to the broker and never call the outside world: whoever opened the work
    commits it, and the relay sends what was written to the outbox in the same transaction.
    """

    service: str
    session: AsyncSession
    outbox: Table
    context: MessageContext
    woken: set[str] = field(default_factory=set)
    """Who has something to do once this is committed: jobs by name, and the relay."""

    def without_reason(self) -> "UnitOfWork":
        """The same piece of work; the words of whoever wants it, which may tell of a person, go no further."""
        return replace(self, context=replace(self.context, reason=None))

    def wake(self, job: str) -> None:
        """Let a job of this service look for work as soon as this piece of work is committed."""
        self.woken.add(job)

    async def publish(self, event: Event, *, order_key: UUID | str | None = None, subject: str | None = None) -> UUID:
        """Tell every listener that something happened. Events of the same `order_key` leave in the order written."""
        return self._add(names.EVENTS, type(event).key, event, order_key=order_key, subject=subject)

    async def command(self, command: Command, *, order_key: UUID | str | None = None) -> UUID:
        """Ask another service for something, without waiting for its reply."""
        return self._add(names.COMMANDS, type(command).key, command, order_key=order_key, subject=None)

    def insert_later(self, table: Table, *rows: dict[str, Any]) -> None:
        """Store these rows before the commit, after everything else. Rows of a table name the same columns.

        Only for what this transaction does not read or change again; whoever must all the same calls `insert_now`.
        """
        defer_inserts(self.session, table, *rows)

    async def insert_now(self) -> None:
        """Store the rows that wait for the commit, because something is to read or change them before it."""
        await insert_deferred(self.session)

    def locked(self, model: type[R], address: Hashable) -> R | None:
        """The record as it stands now, if this very transaction has locked it under this address; else None, and the
        caller locks it itself."""
        return locked(self.session, model, address)

    async def complete(self) -> None:
        """Write what was done and what is to be sent; whoever opened the work calls it before the commit."""
        await self.session.flush()
        await self.insert_now()

    def _add(
        self, exchange: str, key: str, message: Message, *, order_key: UUID | str | None, subject: str | None
    ) -> UUID:
        self.woken.add(RELAY)
        message_id = new_id()
        headers: dict[str, str] = {"client-id": self.context.client_id, "actor": self.context.actor}
        if self.context.message_id is not None:
            headers["causation-id"] = str(self.context.message_id)
        if self.context.reason is not None:
            headers["reason"] = self.context.reason
        if self.context.traceparent is not None:
            headers["traceparent"] = self.context.traceparent
        if exchange == names.EVENTS:
            headers |= cloud_event(self.service, key, message_id, subject or (str(order_key) if order_key else None))
        self.insert_later(
            self.outbox,
            {
                "message_id": message_id,
                "exchange": exchange,
                "routing_key": key,
                "order_key": str(order_key) if order_key is not None else None,
                "correlation_id": self.context.correlation_id,
                "headers": headers,
                "body": message.model_dump_json(exclude_none=True).encode(),
            },
        )
        return message_id


@asynccontextmanager
async def open_unit_of_work(
    sessions: async_sessionmaker[AsyncSession], *, service: str, outbox: Table, context: MessageContext
) -> AsyncIterator[UnitOfWork]:
    """A transaction with a piece of work in it: committed at the end of the block, rolled back if it raises."""
    async with sessions() as session, session.begin():
        work = UnitOfWork(service, session, outbox, context)
        yield work
        await work.complete()


def cloud_event(service: str, key: str, message_id: UUID, subject: str | None) -> dict[str, str]:
    """The CloudEvents 1.0 attributes of an event, as headers."""
    attributes = {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": str(message_id),
        "cloudEvents_source": f"/aftersale/{service}",
        "cloudEvents_type": key,
        "cloudEvents_time": datetime.now(UTC).isoformat(),
    }
    if subject is not None:
        attributes["cloudEvents_subject"] = subject
    return attributes
