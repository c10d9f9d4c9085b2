"""What tests are made of, once: money, contacts, items, orders as a checkout would send them, and refunds of them."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

from shared.contracts.purchases import (
    Contact,
    Payment,
    PaymentType,
    PurchaseItem,
    RecordPurchase,
    RefundKind,
    RefundLine,
    RefundReason,
    RequestRefund,
)
from shared.contracts.values import Money

ORDERED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNIT_PRICE = 1999
"""Cents; a purchase has two items of two units each unless a test says otherwise."""


def euros(amount: int) -> Money:
    """Cents as money."""
    return Money(amount=amount, currency="EUR")


def contact(**fields: Any) -> Contact:
    return Contact(**({"country": "DE", "last_name": "Lovelace", "email": "ada@example.com"} | fields))


def item(price: int = 1000, quantity: int = 1, rate: str = "19", name: str = "Product") -> PurchaseItem:
    return PurchaseItem.model_validate_json(
        f'{{"product_id":"p-1","product_name":"{name}","quantity":{quantity},"tax_rate":"{rate}",'
        f'"unit_price":{{"amount":{price},"currency":"EUR"}}}}'
    )


_orders = count(1)


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


def order_number() -> str:
    """A number that no other order has."""
    return f"T-{uuid4().hex[:12]}"


def purchase(
    order: str | None = None, *, email: str = "jane@example.com", items: int = 2, **fields: Any
) -> RecordPurchase:
    """A paid purchase; `fields` replace what a test cares about."""
    values: dict[str, Any] = {
        "client_order_id": order or order_number(),
        "ordered_at": datetime.now(UTC),
        "currency": "EUR",
        "billing_contact": Contact(first_name="Jane", last_name="Doe", country="DE", language="en", email=email),
        "items": tuple(
            PurchaseItem(
                product_id=f"SKU-{number}",
                product_name=f"Thing {number}",
                quantity=2,
                unit_price=euros(UNIT_PRICE),
                tax_rate=Decimal(19),
            )
            for number in range(1, items + 1)
        ),
        "payment_type": PaymentType.VISA,
        "card_last4": "1111",
        "payment": Payment(amount=euros(2 * items * UNIT_PRICE), paid_at=datetime.now(UTC)),
    }
    return RecordPurchase(**(values | fields))


def refund(
    order: str, *, kind: RefundKind = RefundKind.TOTAL, lines: tuple[RefundLine, ...] = (), **fields: Any
) -> RequestRefund:
    """A refund of an order; the whole of it unless a test says otherwise."""
    values: dict[str, Any] = {"reason": RefundReason.GOODWILL} | fields
    return RequestRefund(client_order_id=order, kind=kind, lines=lines, **values)
