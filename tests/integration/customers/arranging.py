"""Customers as tests need them, made by the same messages as in production, and a service without a broker."""

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.customers.handlers import handlers
from services.customers.models import CustomersTables
from shared.contracts.customers import (
    ContactDetails,
    CreateCustomer,
    CustomerChanged,
    CustomerPage,
    CustomerView,
    GetCustomer,
    SearchCustomers,
)
from shared.contracts.message import Message
from shared.contracts.purchases import (
    Contact,
    PaymentRecorded,
    PaymentType,
    PurchaseRecorded,
    PurchaseStatus,
    PurchaseStatusChanged,
    RefundCompleted,
    RefundKind,
    RefundReason,
    RefundRequested,
)
from shared.contracts.values import Money
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork

ORDERED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
_numbers = count(200_000_000)
_clients = count(1)


def a_client() -> str:
    """A client that no other test uses."""
    return f"client-{next(_clients)}"


@dataclass
class CustomersService:
    """The customers service as its handlers see it, on a real database."""

    sessions: async_sessionmaker[AsyncSession]

    @asynccontextmanager
    async def work(
        self, client: str, *, actor: str = "user:ada", message_id: UUID | None = None
    ) -> AsyncIterator[UnitOfWork]:
        context = MessageContext(
            client_id=client, actor=actor, message_id=message_id or new_id(), correlation_id=f"flow-{new_id()}"
        )
        async with self.sessions() as session, session.begin():
            work = UnitOfWork("customers", session, CustomersTables.outbox, context)
            yield work
            await work.complete()

    async def handle(self, client: str, message: Message, *, actor: str = "user:ada") -> Any:
        """Let the handler of the message do its work, in a transaction of its own."""
        route = next(route for route in handlers.routes if route.message is type(message))
        async with self.work(client, actor=actor) as work:
            result = route.handler(message, work)
            assert inspect.isawaitable(result)
            return await result

    async def create(self, client: str, **fields: Any) -> UUID:
        """A customer; returns its id."""
        reference = fields.pop("customer_reference", None)
        command = CreateCustomer(billing_contact=details(**fields), customer_reference=reference)
        changed: CustomerChanged = await self.handle(client, command)
        return changed.customer_id

    async def get(self, client: str, customer_id: UUID) -> CustomerView:
        view: CustomerView = await self.handle(client, GetCustomer(customer_id=customer_id))
        return view

    async def owner(self, client: str, reference_number: str) -> CustomerView:
        view: CustomerView = await self.handle(client, GetCustomer(reference_number=reference_number))
        return view

    async def find(self, client: str, keywords: str, **fields: Any) -> list[UUID]:
        page: CustomerPage = await self.handle(client, SearchCustomers(keywords=keywords, **fields))
        return [row.customer_id for row in page.rows]

    async def sent(self, client: str) -> list[Message]:
        """What a client's work has put into the outbox, in order."""
        outbox = CustomersTables.outbox
        async with self.sessions() as session:
            rows = (
                await session.execute(
                    outbox.select().where(outbox.c.headers["client-id"].astext == client).order_by(outbox.c.id)
                )
            ).all()
        return [TypeAdapter(Message.registered[row.routing_key]).validate_json(row.body) for row in rows]


def details(**fields: Any) -> ContactDetails:
    return ContactDetails(**({"country": "DE", "last_name": "Lovelace", "email": "ada@example.com"} | fields))


def contact(**fields: Any) -> Contact:
    return Contact(**({"country": "DE", "last_name": "Lovelace", "email": "ada@example.com"} | fields))


def euros(amount: int) -> Money:
    return Money(amount=amount, currency="EUR")


def recorded(billing: Contact | None = None, **fields: Any) -> PurchaseRecorded:
    """News of a purchase."""
    billing = billing or contact()
    number = str(next(_numbers))
    given: dict[str, Any] = {
        "purchase_id": new_id(),
        "reference_number": number,
        "client_order_id": f"order-{number}",
        "version": 1,
        "status": PurchaseStatus.PAID,
        "ordered_at": ORDERED_AT,
        "gross": euros(1000),
        "payment_type": PaymentType.VISA,
        "card_last4": "4242",
        "billing_contact": billing,
        "delivery_contact": billing,
        "licensee_contact": billing,
    }
    return PurchaseRecorded(**(given | fields))


def paid(purchase: PurchaseRecorded, amount: int = 1000) -> PaymentRecorded:
    return PaymentRecorded(
        purchase_id=purchase.purchase_id,
        reference_number=purchase.reference_number,
        payment_id=new_id(),
        amount=euros(amount),
        paid_at=ORDERED_AT + timedelta(minutes=1),
        paid_in_full=True,
        gross=purchase.gross,
        tax=euros(0),
        payment_type=purchase.payment_type,
        billing_contact=purchase.billing_contact,
        lines=(),
    )


def status(purchase: PurchaseRecorded, to: PurchaseStatus, version: int) -> PurchaseStatusChanged:
    return PurchaseStatusChanged(
        purchase_id=purchase.purchase_id,
        reference_number=purchase.reference_number,
        version=version,
        old_status=purchase.status,
        status=to,
        gross=purchase.gross,
        paid=purchase.gross,
        refunded=euros(0),
    )


def refund_requested(purchase: PurchaseRecorded, amount: int = 1000) -> RefundRequested:
    return RefundRequested(
        refund_id=new_id(),
        purchase_id=purchase.purchase_id,
        reference_number=purchase.reference_number,
        kind=RefundKind.TOTAL,
        amount=euros(amount),
        reason=RefundReason.GOODWILL,
    )


def refund_completed(requested: RefundRequested, billing: Contact | None = None) -> RefundCompleted:
    return RefundCompleted(
        refund_id=requested.refund_id,
        purchase_id=requested.purchase_id,
        reference_number=requested.reference_number,
        kind=requested.kind,
        amount=requested.amount,
        tax=euros(0),
        reason=requested.reason,
        completed_at=ORDERED_AT + timedelta(days=1),
        remaining=euros(0),
        payment_type=PaymentType.VISA,
        notify_customer=True,
        billing_contact=billing or contact(),
        lines=(),
    )
