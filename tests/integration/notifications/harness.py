"""The service's use cases and dispatcher on a real database, without the broker around them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import func, select, text, update

from services.notifications.dispatch.job import DispatchJob, dispatch_job
from services.notifications.email.compose import compose_receipt
from services.notifications.email.sender import Sender
from services.notifications.models import Email, EmailAttemptRow, NotificationsTables
from services.notifications.settings import Settings
from shared.contracts.notifications import EmailState
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from tests.support.service import ServiceUnderTest, sessions_of
from tests.support.service import context as any_context
from tests.unit.notifications.samples import contact, payment_recorded

SENDER = Sender("Northwind Software", "service@example.com", "mail.example.com")
SHOP = "demo-shop"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def context(client_id: str = SHOP, actor: str = "user:ann", **fields: Any) -> MessageContext:
    """A message of this shop, within a trace."""
    return any_context(client_id, actor, **({"traceparent": TRACE} | fields))


@dataclass(frozen=True)
class Published:
    """A row of the outbox."""

    key: str
    body: dict[str, Any]
    headers: dict[str, str]
    correlation_id: str
    order_key: str | None


@dataclass
class Notifications(ServiceUnderTest):
    """The notifications service with its dispatcher."""

    name: ClassVar = "notifications"
    outbox: ClassVar = NotificationsTables.outbox
    settings: Settings
    job: DispatchJob = field(default_factory=dispatch_job)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self, name: str) -> None:
        super().wake(name)
        self.answered.set()

    async def dispatch(self, job: DispatchJob | None = None) -> int:
        """Send until nothing is due and every answer is written down; returns how many mails were taken."""
        job = job or self.job
        taken = 0
        while found := await job.round(self):
            taken += found
            await job.drain(self)
        await job.drain(self)
        return taken

    async def dispatch_until_sent(self, *ids: UUID) -> None:
        """Rounds, one for each answer, until these mails are sent, whatever is still in hand."""
        while True:
            self.answered.clear()
            await self.job.round(self)
            if [(await self.email(email_id)).state for email_id in ids] == [EmailState.SENT] * len(ids):
                return
            await self.answered.wait()

    async def receipt(self, local_part: str = "ok", by: MessageContext | None = None, **changes: Any) -> UUID:
        """A queued receipt for a customer."""
        payment = payment_recorded(billing_contact=contact(email=f"{local_part}@example.com"), **changes)
        async with self.work(by or context()) as work:
            email_id = await compose_receipt(work, payment, SENDER)
        assert email_id is not None
        return email_id

    async def email(self, email_id: UUID) -> Email:
        async with self.sessions() as session:
            return (await session.execute(select(Email).where(Email.id == email_id))).scalar_one()

    async def attempts(self, email_id: UUID) -> list[EmailAttemptRow]:
        statement = select(EmailAttemptRow).where(EmailAttemptRow.email_id == email_id)
        async with self.sessions() as session:
            return list(await session.scalars(statement.order_by(EmailAttemptRow.number)))

    async def outcomes(self, email_id: UUID) -> list[str]:
        return [attempt.outcome for attempt in await self.attempts(email_id)]

    async def published(self) -> list[Published]:
        """What waits in the outbox, oldest first."""
        return [
            Published(row.routing_key, json.loads(row.body), row.headers, row.correlation_id, row.order_key)
            for row in await self.outbox_rows()
        ]

    async def change(self, email_id: UUID, **values: Any) -> None:
        """Arrange what would take days: a state, a time in the past."""
        async with self.sessions() as session, session.begin():
            await session.execute(update(Email).where(Email.id == email_id).values(**values))

    async def make_due(self, email_id: UUID) -> None:
        await self.change(email_id, due_at=func.now())

    async def put_into(self, email_id: UUID, state: EmailState) -> None:
        values: dict[str, Any] = {"state": state.value, "sent_at": func.now()}
        if state is EmailState.SENDING:
            values |= {"lease_token": new_id(), "leased_until": func.now() + timedelta(minutes=5), "attempts": 1}
        await self.change(email_id, **values)


def settings(database_url: str, smtp_port: int, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "amqp_url": SecretStr("amqp://nobody@127.0.0.1:1/"),
        "smtp_url": SecretStr(f"smtp://127.0.0.1:{smtp_port}"),
        "sender_address": SENDER.address,
        "smtp_timeout_seconds": 30.0,
        "dispatch_lease_seconds": 330.0,
        "dispatch_concurrency": 4,
    }
    return Settings(**(values | changes))


@asynccontextmanager
async def notifications(database_url: str, smtp_port: int, **changes: Any) -> AsyncIterator[Notifications]:
    """The service on an empty database."""
    async with sessions_of(database_url, "notifications") as sessions:
        async with sessions() as session, session.begin():
            await session.execute(text("TRUNCATE email, email_attempt, email_change, tombstone, inbox, outbox"))
        service = Notifications(sessions, settings(database_url, smtp_port, **changes))
        yield service
        await service.job.finish(service)
