"""What messages say of a purchase, whether it was read or has just been stored."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from services.purchases.models import Purchase
from shared.contracts.purchases import Contact, PaymentType, PurchaseChanged, PurchaseStatus, ReceiptLine
from shared.contracts.values import Money


@dataclass(frozen=True)
class NewPurchase:
    """A purchase as it was stored by the transaction that records it. Nothing changes it there."""

    id: UUID
    reference_number: str
    client_id: str
    version: int
    status: PurchaseStatus
    ordered_at: datetime
    payment_type: PaymentType
    card_last4: str | None
    currency: str
    gross: int
    tax: int
    paid: int
    billing_contact: dict[str, Any]

    @property
    def anonymized_at(self) -> None:
        return None


AnyPurchase: TypeAlias = Purchase | NewPurchase


def money(purchase: AnyPurchase, amount: int) -> Money:
    """An amount in the purchase's currency."""
    return Money(amount=amount, currency=purchase.currency)


def contact(stored: dict[str, Any]) -> Contact:
    """A stored contact. It was valid when it came; a stricter rule of today must not make it unreadable."""
    return Contact.model_construct(**stored)


def receipt_lines(purchase: AnyPurchase, items: Iterable[tuple[str, int, int]]) -> tuple[ReceiptLine, ...]:
    """What a receipt says of products, in their order: name, quantity (0: none) and amount of each."""
    return tuple(
        ReceiptLine(product_name=name, quantity=quantity or None, amount=money(purchase, amount))
        for name, quantity, amount in items
    )


def reply(purchase: AnyPurchase) -> PurchaseChanged:
    """The reply to a change."""
    return PurchaseChanged(
        purchase_id=purchase.id,
        reference_number=purchase.reference_number,
        status=purchase.status,
        version=purchase.version,
    )
