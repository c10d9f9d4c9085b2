"""A small shop for tests: purchases as a checkout would send them."""

from datetime import UTC, datetime
from decimal import Decimal
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

UNIT_PRICE = 1999
"""Cents; a purchase has two items of two units each unless a test says otherwise."""


def euros(amount: int) -> Money:
    """Cents as money."""
    return Money(amount=amount, currency="EUR")


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
