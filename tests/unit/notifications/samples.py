"""Events as the purchases service publishes them, to be changed where a test needs something else."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from shared.contracts.purchases import (
    Contact,
    PaymentRecorded,
    PaymentType,
    ReceiptLine,
    RefundCompleted,
    RefundKind,
    RefundReason,
)
from shared.contracts.values import Money


def money(amount: int, currency: str = "EUR") -> Money:
    return Money(amount=amount, currency=currency)


def contact(**changes: Any) -> Contact:
    values: dict[str, Any] = {
        "language": "en",
        "first_name": "Jane",
        "last_name": "Doe",
        "street1": "1 High Street",
        "postal_code": "SW1A 1AA",
        "city": "London",
        "country": "GB",
        "email": "jane.doe@example.com",
    }
    return Contact.model_validate(values | changes)


def payment_recorded(**changes: Any) -> PaymentRecorded:
    values: dict[str, Any] = {
        "purchase_id": UUID(int=1),
        "reference_number": "123456789",
        "payment_id": UUID(int=2),
        "amount": money(123_999),
        "paid_at": datetime(2026, 11, 22, 1, 30, tzinfo=UTC),
        "paid_in_full": True,
        "gross": money(123_999),
        "tax": money(19_798),
        "payment_type": PaymentType.VISA,
        "card_last4": "1111",
        "billing_contact": contact(),
        "lines": (
            ReceiptLine(product_name="Photo Suite, annual licence", quantity=2, amount=money(120_000)),
            ReceiptLine(product_name="Set of 6 tea lights", quantity=1_200, amount=money(3_999)),
        ),
    }
    return PaymentRecorded.model_validate(values | changes)


def refund_completed(**changes: Any) -> RefundCompleted:
    values: dict[str, Any] = {
        "refund_id": UUID(int=3),
        "purchase_id": UUID(int=1),
        "reference_number": "123456789",
        "kind": RefundKind.AMOUNT,
        "amount": money(3_999),
        "tax": money(639),
        "reason": RefundReason.FRAUD,
        "completed_at": datetime(2026, 11, 23, 14, 5, tzinfo=UTC),
        "remaining": money(120_000),
        "payment_type": PaymentType.PAYPAL,
        "notify_customer": True,
        "billing_contact": contact(),
        "lines": (ReceiptLine(product_name="Set of 6 tea lights", quantity=None, amount=money(3_999)),),
    }
    return RefundCompleted.model_validate(values | changes)
