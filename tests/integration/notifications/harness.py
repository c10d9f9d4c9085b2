"""The service's use cases and dispatcher on a real database, without the broker around them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.notifications.dispatch.job import DispatchJob, dispatch_job
from services.notifications.email.compose import compose_receipt
from services.notifications.email.sender import Sender
from services.notifications.models import Email, EmailAttemptRow, NotificationsTables
from services.notifications.settings import Settings
from shared.contracts.notifications import EmailState
from shared.database import create_engine, create_sessions
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import RELAY, UnitOfWork, open_unit_of_work
from tests.unit.notifications.samples import contact, payment_recorded

SENDER = Sender("Northwind Software", "service@example.com", "mail.example.com")
SHOP = "demo-shop"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def context(**changes: Any) -> MessageContext:
    values: dict[str, Any] = {
        "client_id": SHOP,
        "actor": "user:ann",
        "message_id": new_id(),
        "correlation_id": f"flow-{new_id()}",
        "traceparent": TRACE,
    }
    return MessageContext(**(values | changes))


@dataclass(frozen=True)
class Published:
    """A row of the outbox."""

    key: str
    body: dict[str, Any]
    headers: dict[str, str]
    correlation_id: str
    order_key: str | None


@dataclass
class Notifications:
    """What jobs get from the running service, and what a test wants to know."""

    settings: Settings
    sessions: async_sessionmaker[AsyncSession]
    woken: list[str] = field(default_factory=list)
    job: DispatchJob = field(default_factory=dispatch_job)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def work(self, context: MessageContext) -> AsyncIterator[UnitOfWork]:
        outbox = NotificationsTables.outbox
        async with open_unit_of_work(self.sessions, service="notifications", outbox=outbox, context=context) as work:
            yield work
        self.woken.extend(work.woken - {RELAY})

    def wake(self, name: str) -> None:
        self.woken.append(name)
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
        outbox = NotificationsTables.outbox
        async with self.sessions() as session:
            rows = (await session.execute(select(outbox).order_by(outbox.c.id))).mappings().all()
        return [
            Published(
                row["routing_key"], json.loads(row["body"]), row["headers"], row["correlation_id"], row["order_key"]
            )
            for row in rows
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
    engine = create_engine(database_url, service="notifications-test")
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_empty)
        service = Notifications(settings(database_url, smtp_port, **changes), create_sessions(engine))
        yield service
        await service.job.finish(service)
    finally:
        await engine.dispose()


def _empty(connection: Connection) -> None:
    connection.execute(text("TRUNCATE email, email_attempt, email_change, tombstone, inbox, outbox"))
