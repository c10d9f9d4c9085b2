"""The error log on a database of its own, without a broker."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.errorlog.log import log_dead_letter, log_error
from services.errorlog.models import ErrorEntry, ErrorlogTables, FailedMessage
from shared.contracts.errorlog import ErrorRaised
from shared.ids import new_id
from shared.messaging.dead_letter import DeadLetter
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork, open_unit_of_work

DIED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def dead_letter(**changes: Any) -> DeadLetter:
    """A refund that failed in every attempt; the body is JSON unless bytes are given."""
    given: dict[str, Any] = {
        "queue": "purchases.commands",
        "key": "purchases.refund.request.v1",
        "exchange": "aftersale.commands",
        "user": "checkout",
        "client_id": "demo-shop",
        "actor": "service:checkout",
        "message_id": new_id(),
        "correlation_id": "flow-1",
        "reason": "attempts_used_up",
        "attempts": 5,
        "handler": "request_refund",
        "error_type": "ValueError",
        "error_at": "services/purchases/refunds.py:123 in request_refund",
        "died_at": DIED,
        "body": b"{}",
    }
    return DeadLetter(**{**given, **changes})


def json_body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@dataclass(frozen=True)
class Log:
    """What a test may do with the log, each act in a transaction of its own."""

    sessions: async_sessionmaker[AsyncSession]
    client: str

    @asynccontextmanager
    async def work(
        self, *, client: str | None = None, actor: str = "user:ada", user: str = "purchases"
    ) -> AsyncIterator[UnitOfWork]:
        key = f"{user}.error.raised.v1"
        context = MessageContext(client or self.client, actor, new_id(), "flow-1", user=user, routing_key=key)
        async with open_unit_of_work(
            self.sessions, service="errorlog", outbox=ErrorlogTables.outbox, context=context
        ) as work:
            yield work

    async def raise_error(self, error: ErrorRaised, *, client: str | None = None, user: str = "purchases") -> None:
        async with self.work(client=client, actor=f"service:{user}", user=user) as work:
            await log_error(work, error)

    async def bury(self, letter: DeadLetter) -> None:
        async with self.work(client="*", actor="service:errorlog") as work:
            await log_dead_letter(work, letter)

    async def entries(self, **values: Any) -> list[ErrorEntry]:
        async with self.sessions() as session:
            found = select(ErrorEntry).filter_by(**{"client_id": self.client, **values}).order_by(ErrorEntry.id)
            return list(await session.scalars(found))

    async def failed(self, error_id: UUID) -> list[FailedMessage]:
        async with self.sessions() as session:
            found = select(FailedMessage).filter_by(error_id=error_id).order_by(FailedMessage.id)
            return list(await session.scalars(found))

    async def told(self, key: str) -> int:
        """How many events of one kind are in the outbox for this client, whatever they are about."""
        outbox = ErrorlogTables.outbox
        of_client = outbox.c.headers["client-id"].astext == self.client
        async with self.sessions() as session:
            found = select(func.count()).select_from(outbox).where(outbox.c.routing_key == key, of_client)
            return await session.scalar(found) or 0

    async def published(self, key: str, error_id: UUID) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Bodies and headers in the outbox that are about an entry."""
        outbox = ErrorlogTables.outbox
        async with self.sessions() as session:
            rows = await session.execute(
                select(outbox.c.body, outbox.c.headers)
                .where(outbox.c.routing_key == key, outbox.c.order_key == str(error_id))
                .order_by(outbox.c.id)
            )
            return [(json.loads(body), headers) for body, headers in rows]
