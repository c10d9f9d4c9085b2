"""Rules of purchases: where a purchase may stand, what money may go back, and why not.

Pure: no database, no broker. Amounts are integer minor units.
Rules: docs/domain.md, "Purchase status", "Payments", "Refunds".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from shared.contracts.directory import RefundRights
from shared.contracts.purchases import (
    PaymentType,
    PurchaseItem,
    PurchaseStatus,
)
from shared.contracts.values import MAX_AMOUNT, AllowedAction

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
REFUNDABLE: Final = frozenset({S.PAID, S.PARTIALLY_REFUNDED})
_ALWAYS_RETURNABLE: Final = frozenset(
    {
        PaymentType.VISA,
        PaymentType.MASTERCARD,
        PaymentType.AMEX,
        PaymentType.DISCOVER,
        PaymentType.JCB,
        PaymentType.MAESTRO,
        PaymentType.PAYPAL,
        PaymentType.ALIPAY,
    }
)


class NotAllowed(Exception):
    """A rule says no: a stable code, words for people, and the facts behind it."""

    def __init__(self, code: str, why: str, **facts: str | int | bool | None) -> None:
        super().__init__(code)
        self.code = code
        self.why = why
        self.facts = facts


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
    """The new status. Raises NotAllowed `status_change_not_allowed` for a change that does not exist."""
    if not may_move(status, trigger, to):
        raise NotAllowed(
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
    """Price of a purchase. Raises NotAllowed `price_too_high` beyond what an amount can hold."""
    total = Price(sum(price.gross for price in prices), sum(price.tax for price in prices))
    if total.gross > MAX_AMOUNT:
        raise NotAllowed("price_too_high", "The price of the purchase is implausible.", most=MAX_AMOUNT)
    return total


def first_status(payment_type: PaymentType, gross: int, paid: int) -> PurchaseStatus:
    """Where a purchase stands when the checkout hands it over; docs/domain.md, "Recording a purchase".

    Raises NotAllowed `free_purchase_has_price`, `exceeds_open_amount`.
    """
    if payment_type is PaymentType.FREE and gross:
        raise NotAllowed("free_purchase_has_price", "A free purchase cannot have a price.", gross=gross)
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
    """Money beyond the price is not booked. Raises NotAllowed `exceeds_open_amount`."""
    if amount > gross - paid:
        raise NotAllowed(
            "exceeds_open_amount",
            "The payment is more than what is still open of the purchase.",
            open_amount=gross - paid,
            payment=amount,
        )


def status_after_payment(status: PurchaseStatus, gross: int, paid: int) -> PurchaseStatus:
    """Paid once the price is complete, unchanged before."""
    return move(status, Trigger.PAYMENT, S.PAID) if paid >= gross else status


def status_after_refund(status: PurchaseStatus, paid: int, returned: int) -> PurchaseStatus:
    """Where a purchase stands once money has gone back.

    A refund that was under way when the buyer's bank pulled the money back changes no status any more.
    """
    to = S.REFUNDED if returned >= paid else S.PARTIALLY_REFUNDED
    return to if may_move(status, Trigger.REFUND, to) else status


@dataclass(frozen=True)
class Standing:
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
    against_refund: NotAllowed | None = None
    """What the client's agreement says against a refund that whoever asks wants."""


def against_refund(
    rights: RefundRights, window_days: int | None, paid_at: datetime | None, now: datetime
) -> NotAllowed | None:
    """What speaks against a refund by the client itself, if anything does; docs/domain.md, "Settings of a client".

    `refund_by_platform_only`, `refund_window_over`.
    """
    if rights is RefundRights.PLATFORM:
        return NotAllowed("refund_by_platform_only", "The platform makes the refunds of this client; ask its support.")
    if window_days is not None and paid_at is not None and now >= paid_at + timedelta(days=window_days):
        return NotAllowed(
            "refund_window_over",
            "The time in which the client may refund a purchase is over.",
            paid_at=paid_at.isoformat(),
            refund_window_days=window_days,
        )
    return None


def check_refundable(purchase: Standing) -> None:
    """Whether any money of a purchase may go back by this way; docs/domain.md, "Refunds".

    Raises NotAllowed `purchase_not_paid`, `nothing_left_to_refund`, `payment_type_not_refundable`, and what the
    client's agreement says against it.
    """
    if purchase.status in (S.REFUNDED, *REFUNDABLE) and purchase.refunded >= purchase.paid:
        raise NotAllowed(
            "nothing_left_to_refund",
            "All the money has been refunded or promised already.",
            status=purchase.status,
            paid=purchase.paid,
            refunded=purchase.refunded,
        )
    if purchase.status is S.AUTHORIZED:
        raise NotAllowed(
            "purchase_not_paid",
            "The payment is only authorized; it becomes paid by itself within some hours and can be refunded then.",
            status=purchase.status,
        )
    if purchase.status not in REFUNDABLE:
        raise NotAllowed(
            "purchase_not_paid",
            f"Only a paid purchase can be refunded; this one is {words(purchase.status)}.",
            status=purchase.status,
        )
    if not _can_go_back(purchase):
        raise NotAllowed(
            "payment_type_not_refundable",
            f"A payment by {words(purchase.payment_type)} cannot be returned this way; hand it to support.",
            payment_type=purchase.payment_type,
            currency=purchase.currency,
            country=purchase.country,
        )
    if purchase.against_refund is not None:
        raise purchase.against_refund


def _can_go_back(purchase: Standing) -> bool:
    match purchase.payment_type:
        case PaymentType.WIRE_TRANSFER:
            return purchase.currency == "EUR"
        case PaymentType.DIRECT_DEBIT:
            return purchase.country == "DE"
        case payment_type:
            return payment_type in _ALWAYS_RETURNABLE


def check_payable(purchase: Standing) -> None:
    """Whether money is awaited. Raises NotAllowed `payment_not_expected`."""
    if not may_move(purchase.status, Trigger.PAYMENT, S.PAID):
        raise NotAllowed(
            "payment_not_expected",
            f"No payment is expected for a purchase that is {words(purchase.status)}.",
            status=purchase.status,
        )


_ACTIONS: Final = (("refund.request", check_refundable), ("payment.record", check_payable))


def actions(purchase: Standing) -> Iterator[AllowedAction]:
    """What may be done now. The functions that say why not here refuse the commands too."""
    for name, check in _ACTIONS:
        try:
            check(purchase)
        except NotAllowed as refusal:
            yield AllowedAction(name=name, allowed=False, code=refusal.code, why_not=refusal.why)
        else:
            yield AllowedAction(name=name, allowed=True)
