"""Rules of purchases: which status follows which, prices, what money is awaited, whose contacts may change.

Pure: no database, no broker. Amounts are integer minor units.
Rules: docs/domain.md, "Purchase status", "Payments", "Contacts of a customer".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from shared.contracts.purchases import UNPAID, PaymentType, PurchaseItem, PurchaseStatus
from shared.contracts.refusals import Refused
from shared.contracts.values import MAX_AMOUNT

S = PurchaseStatus

REFERENCE_NUMBERS: Final = range(100_000_000, 1_000_000_000)
"""Nine digits without a leading zero. Drawn at random, so that one number tells nothing about another."""

PENDING: Final = frozenset(
    {
        S.ACCEPTED,
        S.AWAITING_RELEASE_BY_CUSTOMER,
        S.AWAITING_RELEASE_BY_CLIENT,
        S.AWAITING_RELEASE_FOR_PURCHASE_ORDER,
        S.EXPORT_REVIEW,
        S.EXPORT_CLEARED,
        S.PROCESSING_ERROR,
    }
)
TERMINAL: Final = frozenset({S.REFUNDED, S.REJECTED, S.CANCELED})
OFFLINE: Final = frozenset(
    {
        PaymentType.WIRE_TRANSFER,
        PaymentType.DIRECT_DEBIT,
        PaymentType.CHECK,
        PaymentType.KONBINI,
        PaymentType.BOLETO,
    }
)
"""The customer gets payment instructions; delivery waits for the money."""


class Trigger(StrEnum):
    """What makes a purchase change its status."""

    QUOTE_REQUESTED = "quote_requested"
    CHECKOUT = "checkout"
    QUOTE_BOUGHT = "quote_bought"
    QUOTE_ENDED = "quote_ended"
    PAYMENT = "payment"
    CANCELLATION = "cancellation"
    PURCHASE_ORDER_RELEASED = "purchase_order_released"
    SCREENING = "screening"
    PROCESSING = "processing"
    RELEASE_DECIDED = "release_decided"
    CAPTURE = "capture"
    AUTHORIZATION_VOIDED = "authorization_voided"
    TECHNICAL_FAILURE = "technical_failure"
    RETRY = "retry"
    REACTIVATION = "reactivation"
    REFUND = "refund"
    CHARGEBACK = "chargeback"
    DISPUTE_WON = "dispute_won"
    DEBIT_RETURNED = "debit_returned"


_ToStatuses = frozenset[PurchaseStatus]


def _from(sources: Sequence[PurchaseStatus], *targets: PurchaseStatus) -> dict[PurchaseStatus | None, _ToStatuses]:
    return {source: frozenset(targets) for source in sources}


TRANSITIONS: Final[Mapping[Trigger, Mapping[PurchaseStatus | None, _ToStatuses]]] = MappingProxyType(
    {
        Trigger.QUOTE_REQUESTED: {None: frozenset({S.QUOTE})},
        Trigger.CHECKOUT: {
            None: frozenset({S.AWAITING_OFFLINE_PAYMENT, S.AUTHORIZED, S.PAID, S.REGISTERED, S.DECLINED}) | PENDING
        },
        Trigger.QUOTE_BOUGHT: _from(
            [S.QUOTE],
            S.AWAITING_OFFLINE_PAYMENT,
            S.AWAITING_RELEASE_FOR_PURCHASE_ORDER,
            S.AUTHORIZED,
            S.PAID,
        ),
        Trigger.QUOTE_ENDED: _from([S.QUOTE], S.CANCELED),
        Trigger.PAYMENT: _from(
            [
                S.AWAITING_OFFLINE_PAYMENT,
                S.WAITING_FOR_PAYMENT_OF_PURCHASE_ORDER,
                S.AUTHORIZED,
                S.ACCEPTED,
                S.EXPORT_CLEARED,
                S.PROCESSING_ERROR,
                S.DECLINED,
                S.HOLD,
            ],
            S.PAID,
        ),
        Trigger.CANCELLATION: _from(
            [
                S.AWAITING_OFFLINE_PAYMENT,
                S.WAITING_FOR_PAYMENT_OF_PURCHASE_ORDER,
                S.PROCESSING_ERROR,
                S.HOLD,
            ],
            S.CANCELED,
        ),
        Trigger.PURCHASE_ORDER_RELEASED: _from(
            [S.AWAITING_RELEASE_FOR_PURCHASE_ORDER], S.WAITING_FOR_PAYMENT_OF_PURCHASE_ORDER
        ),
        Trigger.SCREENING: _from([S.EXPORT_REVIEW], S.EXPORT_CLEARED, S.REJECTED),
        Trigger.PROCESSING: _from([S.EXPORT_CLEARED, S.ACCEPTED], S.AUTHORIZED, S.PAID),
        Trigger.RELEASE_DECIDED: _from(
            [S.AWAITING_RELEASE_BY_CLIENT, S.AWAITING_RELEASE_BY_CUSTOMER],
            S.AUTHORIZED,
            S.PAID,
            S.REJECTED,
            S.CANCELED,
        ),
        Trigger.CAPTURE: _from([S.AUTHORIZED], S.PAID),
        Trigger.AUTHORIZATION_VOIDED: _from([S.AUTHORIZED], S.CANCELED),
        Trigger.TECHNICAL_FAILURE: _from(sorted(PENDING - {S.PROCESSING_ERROR}), S.PROCESSING_ERROR),
        Trigger.RETRY: {
            **_from([S.PROCESSING_ERROR], S.AUTHORIZED, S.PAID, S.DECLINED, S.CANCELED),
            **_from([S.DECLINED], S.AUTHORIZED, S.PAID),
        },
        Trigger.REACTIVATION: _from([S.HOLD], *sorted(PENDING), S.PAID, S.CANCELED),
        Trigger.REFUND: _from([S.PAID, S.PARTIALLY_REFUNDED], S.PARTIALLY_REFUNDED, S.REFUNDED),
        Trigger.CHARGEBACK: _from([S.PAID, S.PARTIALLY_REFUNDED], S.CHARGEBACK),
        Trigger.DISPUTE_WON: _from([S.CHARGEBACK], S.PAID),
        Trigger.DEBIT_RETURNED: _from([S.PAID], S.DIRECT_DEBIT_RETURNED, S.WAITING_FOR_PAYMENT_OF_PURCHASE_ORDER),
    }
)
"""Every change of status there is; docs/domain.md, "Purchase status". Any other is refused."""


def may_move(status: PurchaseStatus | None, trigger: Trigger, to: PurchaseStatus) -> bool:
    """Whether this change of status exists."""
    return to in TRANSITIONS[trigger].get(status, frozenset())


def move(status: PurchaseStatus | None, trigger: Trigger, to: PurchaseStatus) -> PurchaseStatus:
    """The new status. Raises Refused `status_change_not_allowed` for a change that does not exist."""
    if not may_move(status, trigger, to):
        raise Refused(
            "status_change_not_allowed",
            f"A purchase that is {words(status) if status else 'new'} does not become {words(to)} by {words(trigger)}.",
            status=status,
            wanted=to,
        )
    return to


def words(name: str) -> str:
    """A stable name as people read it."""
    return name.replace("_", " ")


@dataclass(frozen=True)
class Price:
    """What an item costs: all units, and the tax in it."""

    gross: int
    tax: int


def item_price(item: PurchaseItem) -> Price:
    """Price of all units of an item. The tax is contained in the gross, rounded half up once per item."""
    gross = item.unit_price.amount * item.quantity
    tax = (gross * item.tax_rate / (100 + item.tax_rate)).quantize(Decimal(1), ROUND_HALF_UP)
    return Price(gross, int(tax))


def total_price(prices: Sequence[Price]) -> Price:
    """Price of a purchase. Raises Refused `price_too_high` beyond what an amount can hold."""
    total = Price(sum(price.gross for price in prices), sum(price.tax for price in prices))
    if total.gross > MAX_AMOUNT:
        raise Refused("price_too_high", "The price of the purchase is implausible.", most=MAX_AMOUNT)
    return total


def first_status(payment_type: PaymentType, gross: int, paid: int) -> PurchaseStatus:
    """Where a purchase stands when the checkout hands it over; docs/domain.md, "Recording a purchase".

    Raises Refused `free_purchase_has_price`, `exceeds_open_amount`.
    """
    if payment_type is PaymentType.FREE and gross:
        raise Refused("free_purchase_has_price", "A free purchase cannot have a price.", gross=gross)
    check_payment(gross, 0, paid)
    if gross == 0:
        to = S.REGISTERED
    elif paid == gross:
        to = S.PAID
    elif payment_type is PaymentType.PURCHASE_ORDER:
        to = S.AWAITING_RELEASE_FOR_PURCHASE_ORDER
    elif payment_type in OFFLINE:
        to = S.AWAITING_OFFLINE_PAYMENT
    else:
        to = S.AUTHORIZED
    return move(None, Trigger.CHECKOUT, to)


def check_payment(gross: int, paid: int, amount: int) -> None:
    """Money beyond the price is not booked. Raises Refused `exceeds_open_amount`."""
    if amount > gross - paid:
        raise Refused(
            "exceeds_open_amount",
            "The payment is more than what is still open of the purchase.",
            open_amount=gross - paid,
            payment=amount,
        )


def status_after_payment(status: PurchaseStatus, gross: int, paid: int) -> PurchaseStatus:
    """Paid once the price is complete, unchanged before."""
    return move(status, Trigger.PAYMENT, S.PAID) if paid >= gross else status


@dataclass(frozen=True)
class PurchaseFacts:
    """What decides what may be done with a purchase."""

    status: PurchaseStatus
    payment_type: PaymentType
    currency: str
    country: str
    """Of the billing contact."""
    gross: int
    paid: int
    refunded: int
    """Promised and returned."""
    against_refund: Refused | None = None
    """What the client's agreement says against a refund by whoever asks."""


def check_payable(purchase: PurchaseFacts) -> None:
    """Whether money is awaited. Raises Refused `payment_not_expected`."""
    if not may_move(purchase.status, Trigger.PAYMENT, S.PAID):
        raise Refused(
            "payment_not_expected",
            f"No payment is expected for a purchase that is {words(purchase.status)}.",
            status=purchase.status,
        )


def check_contacts_changeable(status: PurchaseStatus, paid: int, *, is_anonymized: bool) -> None:
    """The documents of a paid purchase keep their contact.

    Raises Refused `purchase_already_paid`, `purchase_anonymized`.
    """
    if is_anonymized:
        raise Refused("purchase_anonymized", "The personal data of this purchase have been removed.")
    if paid or status not in UNPAID:
        raise Refused(
            "purchase_already_paid", "The contacts of a purchase change only before it is paid.", status=status
        )
