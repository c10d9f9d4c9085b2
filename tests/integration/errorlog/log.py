"""The error log on a database of its own, without a broker."""

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Table, select

from services.errorlog.log import log_dead_letter, log_error
from services.errorlog.models import ErrorEntry, ErrorlogTables, FailedMessage
from services.errorlog.view import get_error, list_errors
from shared.contracts.errorlog import ErrorPage, ErrorRaised, ErrorView, GetError, ListErrors, PurchasesErrorRaised
from shared.ids import new_id
from shared.messaging.dead_letter import DeadLetter
from shared.messaging.unit_of_work import UnitOfWork
from tests.support.service import ServiceUnderTest

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


@dataclass
class Log(ServiceUnderTest):
    """What a test may do with the log, each act in a transaction of its own."""

    name: ClassVar[str] = "errorlog"
    outbox: ClassVar[Table] = ErrorlogTables.outbox
    client: str

    def by(
        self, *, client: str | None = None, actor: str = "user:ada", user: str = "purchases"
    ) -> AbstractAsyncContextManager[UnitOfWork]:
        """A transaction for the client of this test."""
        return self.act(client or self.client, actor, user=user, routing_key=f"{user}.error.raised.v1")

    async def raise_error(self, error: ErrorRaised, *, client: str | None = None, user: str = "purchases") -> None:
        async with self.by(client=client, actor=f"service:{user}", user=user) as work:
            await log_error(work, error)

    async def bury(self, letter: DeadLetter) -> None:
        async with self.by(client="*", actor="service:errorlog") as work:
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
        of_client = self.outbox.c.headers["client-id"].astext == self.client
        return len(await self.outbox_rows(self.outbox.c.routing_key == key, of_client))

    async def published(self, key: str, error_id: UUID) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Bodies and headers in the outbox that are about an entry."""
        about = self.outbox.c.order_key == str(error_id)
        rows = await self.outbox_rows(self.outbox.c.routing_key == key, about)
        return [(json.loads(row.body), row.headers) for row in rows]

    async def raise_errors(self, *references: str) -> list[UUID]:
        """The same error at each of these purchases; returns every entry of this client."""
        for reference in references:
            await self.raise_error(
                PurchasesErrorRaised(error_type="refund_failed", title="A refund failed", reference_number=reference)
            )
        return [entry.id for entry in await self.entries()]

    async def listed(self, query: ListErrors, *, client: str | None = None) -> ErrorPage:
        async with self.by(client=client) as work:
            return await list_errors(work, query)

    async def viewed(self, error_id: UUID, *, client: str | None = None) -> ErrorView:
        async with self.by(client=client) as work:
            return await get_error(work, GetError(error_id=error_id))
