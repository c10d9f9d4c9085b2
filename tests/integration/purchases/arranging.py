"""Purchases as tests need them, made through the use cases, and a service without a broker to run them in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.purchases.models import PurchasesTables
from services.purchases.purchase.record import record_purchase
from services.purchases.settings import Settings
from shared.contracts.message import Message
from shared.contracts.purchases import (
    Contact,
    Payment,
    PaymentType,
    PurchaseChanged,
    PurchaseItem,
    RecordPurchase,
    RefundKind,
    RefundLine,
    RefundReason,
    RequestRefund,
)
from shared.contracts.values import Money
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import RELAY, UnitOfWork, open_unit_of_work

ORDERED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def context(client_id: str = "acme", actor: str = "user:ada", message_id: UUID | None = None) -> MessageContext:
    message_id = message_id or new_id()
    return MessageContext(client_id=client_id, actor=actor, message_id=message_id, correlation_id=f"flow-{message_id}")


@dataclass
class PurchasesService:
    """The purchases service as its use cases and jobs see it, on a real database."""

    sessions: async_sessionmaker[AsyncSession]
    settings: Settings
    woken: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def work(self, context: MessageContext) -> AsyncIterator[UnitOfWork]:
        outbox = PurchasesTables.outbox
        async with open_unit_of_work(self.sessions, service="purchases", outbox=outbox, context=context) as work:
            yield work
        self.woken |= work.woken - {RELAY}

    def wake(self, name: str) -> None:
        self.woken.add(name)

    async def sent(self, *, correlation_id: str | None = None) -> list[Message]:
        """What stands in the outbox, in order."""
        outbox = PurchasesTables.outbox
        statement = select(outbox.c.routing_key, outbox.c.body).order_by(outbox.c.id)
        if correlation_id is not None:
            statement = statement.where(outbox.c.correlation_id == correlation_id)
        async with self.sessions() as session:
            rows = (await session.execute(statement)).all()
        return [TypeAdapter(Message.registered[key]).validate_json(body) for key, body in rows]


def euros(amount: int) -> Money:
    return Money(amount=amount, currency="EUR")


def contact(**fields: Any) -> Contact:
    return Contact(**({"country": "DE", "last_name": "Lovelace", "email": "ada@example.com"} | fields))


def item(price: int = 1000, quantity: int = 1, rate: str = "19", name: str = "Product") -> PurchaseItem:
    return PurchaseItem.model_validate_json(
        f'{{"product_id":"p-1","product_name":"{name}","quantity":{quantity},"tax_rate":"{rate}",'
        f'"unit_price":{{"amount":{price},"currency":"EUR"}}}}'
    )


_orders = iter(range(1, 1_000_000))


def order(*items: PurchaseItem, paid: int | None = None, **fields: Any) -> RecordPurchase:
    """An order by Visa, paid in full unless `paid` says otherwise (0: nothing)."""
    items = items or (item(),)
    price = sum(i.unit_price.amount * i.quantity for i in items)
    amount = price if paid is None else paid
    given: dict[str, Any] = {
        "client_order_id": f"order-{next(_orders)}",
        "ordered_at": ORDERED_AT,
        "currency": "EUR",
        "billing_contact": contact(),
        "items": items,
        "payment_type": PaymentType.VISA,
        "card_last4": "4242",
        "payment": Payment(amount=euros(amount), paid_at=ORDERED_AT, provider_reference="pay-1") if amount else None,
    }
    return RecordPurchase(**(given | fields))


async def recorded(
    service: PurchasesService, command: RecordPurchase | None = None, *, by: MessageContext | None = None
) -> PurchaseChanged:
    async with service.work(by or context()) as work:
        return await record_purchase(work, command or order())


def refund(
    purchase: PurchaseChanged,
    kind: RefundKind = RefundKind.TOTAL,
    *lines: RefundLine,
    expected_version: int | None = None,
    **fields: Any,
) -> RequestRefund:
    given: dict[str, Any] = {
        "reference_number": purchase.reference_number,
        "kind": kind,
        "lines": lines,
        "reason": RefundReason.GOODWILL,
        "expected_version": expected_version,
    }
    return RequestRefund(**(given | fields))


def some(running_number: int, amount: int) -> RefundLine:
    return RefundLine(running_number=running_number, amount=euros(amount))
