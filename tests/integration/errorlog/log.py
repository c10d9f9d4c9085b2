"""The error log on a database of its own, without a broker."""

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import select

from services.errorlog.log import log_dead_letter, log_error
from services.errorlog.models import ErrorEntry, ErrorlogTables, FailedMessage
from shared.contracts.errorlog import ErrorRaised
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
        "error_at": "services/purchases/refund/request.py:23 in request_refund",
        "died_at": DIED,
        "body": b"{}",
    }
    return DeadLetter(**{**given, **changes})


def json_body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@dataclass
class Log(ServiceUnderTest):
    """What a test may do with the log, each act in a transaction of its own."""

    name: ClassVar = "errorlog"
    outbox: ClassVar = ErrorlogTables.outbox
    client: str

    def act(
        self, client: str | None = None, actor: str = "user:ada", *, user: str = "purchases", **fields: Any
    ) -> AbstractAsyncContextManager[UnitOfWork]:
        about = {"correlation_id": "flow-1", "user": user, "routing_key": f"{user}.error.raised.v1"}
        return super().act(client or self.client, actor, **(about | fields))

    async def raise_error(self, error: ErrorRaised, *, client: str | None = None, user: str = "purchases") -> None:
        async with self.act(client=client, actor=f"service:{user}", user=user) as work:
            await log_error(work, error)

    async def bury(self, letter: DeadLetter) -> None:
        async with self.act(client="*", actor="service:errorlog") as work:
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
        rows = await self.outbox_rows(self.outbox.c.routing_key == key, self.outbox.c.order_key == str(error_id))
        return [(json.loads(row.body), row.headers) for row in rows]
