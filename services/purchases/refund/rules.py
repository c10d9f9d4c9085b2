"""Whether money of a purchase may go back, how much of each item, and the status that follows.

Pure: no database, no broker. Amounts are integer minor units.
Rules: docs/domain.md, "Refunds", "Settings of a client".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.purchases.purchase.rules import PurchaseFacts, Trigger, may_move, words
from shared.contracts.directory import RefundRights
from shared.contracts.purchases import PaymentType, PurchaseStatus, RefundKind, RefundLine
from shared.contracts.refusals import Refused

S = PurchaseStatus

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


def against_refund(
    rights: RefundRights, window_days: int | None, paid_at: datetime | None, now: datetime
) -> Refused | None:
    """What speaks against a refund by the client itself, if anything does; docs/domain.md, "Settings of a client".

    `refund_by_platform_only`, `refund_window_over`.
    """
    if rights is RefundRights.PLATFORM:
        return Refused("refund_by_platform_only", "The platform makes the refunds of this client; ask its support.")
    if window_days is not None and paid_at is not None and now >= paid_at + timedelta(days=window_days):
        return Refused(
            "refund_window_over",
            "The time in which the client may refund a purchase is over.",
            paid_at=paid_at.isoformat(),
            refund_window_days=window_days,
        )
    return None


def check_refundable(purchase: PurchaseFacts) -> None:
    """Whether any money of a purchase may go back by this way; docs/domain.md, "Refunds".

    Raises Refused `purchase_not_paid`, `nothing_left_to_refund`, `payment_type_not_refundable`, and what the
    client's agreement says against it.
    """
    if purchase.status in (S.REFUNDED, *REFUNDABLE) and purchase.refunded >= purchase.paid:
        raise Refused(
            "nothing_left_to_refund",
            "All the money has been refunded or promised already.",
            status=purchase.status,
            paid=purchase.paid,
            refunded=purchase.refunded,
        )
    if purchase.status is S.AUTHORIZED:
        raise Refused(
            "purchase_not_paid",
            "The payment is only authorized; it becomes paid by itself within some hours and can be refunded then.",
            status=purchase.status,
        )
    if purchase.status not in REFUNDABLE:
        raise Refused(
            "purchase_not_paid",
            f"Only a paid purchase can be refunded; this one is {words(purchase.status)}.",
            status=purchase.status,
        )
    if not _can_go_back(purchase):
        raise Refused(
            "payment_type_not_refundable",
            f"A payment by {words(purchase.payment_type)} cannot be returned this way; hand it to support.",
            payment_type=purchase.payment_type,
            currency=purchase.currency,
            country=purchase.country,
        )
    if purchase.against_refund is not None:
        raise purchase.against_refund


def _can_go_back(purchase: PurchaseFacts) -> bool:
    match purchase.payment_type:
        case PaymentType.WIRE_TRANSFER:
            return purchase.currency == "EUR"
        case PaymentType.DIRECT_DEBIT:
            return purchase.country == "DE"
        case payment_type:
            return payment_type in _ALWAYS_RETURNABLE


@dataclass(frozen=True)
class RefundableItem:
    """An item with what was refunded of it. Promised money counts as refunded until the provider refuses."""

    running_number: int
    quantity: int
    unit_price: int
    gross: int
    tax: int
    refunded: int = 0
    refunded_tax: int = 0
    refunded_quantity: int = 0

    @property
    def left(self) -> int:
        return self.gross - self.refunded

    @property
    def quantity_left(self) -> int:
        return self.quantity - self.refunded_quantity


@dataclass(frozen=True)
class PlannedLine:
    """Money of one item that goes back, the tax contained in it, and the units it stands for (0: none)."""

    running_number: int
    quantity: int
    amount: int
    tax: int


@dataclass(frozen=True)
class RefundPlan:
    lines: tuple[PlannedLine, ...]

    @property
    def amount(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def tax(self) -> int:
        return sum(line.tax for line in self.lines)


def plan_refund(
    kind: RefundKind, lines: Sequence[RefundLine], items: Sequence[RefundableItem], *, currency: str, left: int
) -> RefundPlan:
    """What a refund returns of each item.

    `total` is all that is left, `items` what is left of the named items, `quantity` units at their price but not more
    than what is left, `amount` a sum per item within what is left of it. Never more than `left` of the whole purchase.
    Raises Refused `item_not_found`, `currency_mismatch`, `exceeds_refundable_amount`, `nothing_left_to_refund`.
    """
    if kind is RefundKind.TOTAL:
        planned = [_line(item, item.left, item.quantity_left) for item in items if item.left]
    else:
        planned = list(_named(kind, lines, {item.running_number: item for item in items}, currency))
    if not planned:
        raise Refused("nothing_left_to_refund", "All the money has been refunded or promised already.")
    plan = RefundPlan(tuple(planned))
    if plan.amount > left:
        raise Refused(
            "exceeds_refundable_amount",
            "Less is left of the purchase than the refund wants.",
            refundable_amount=left,
            amount=plan.amount,
        )
    return plan


def _named(
    kind: RefundKind, lines: Sequence[RefundLine], items: Mapping[int, RefundableItem], currency: str
) -> Iterator[PlannedLine]:
    for line in lines:
        item = items.get(line.running_number)
        if item is None:
            raise Refused(
                "item_not_found", "The purchase has no item of this number.", running_number=line.running_number
            )
        if kind is RefundKind.QUANTITY and line.quantity is not None:
            yield _units(item, line.quantity)
        elif kind is RefundKind.AMOUNT and line.amount is not None:
            if line.amount.currency != currency:
                raise Refused("currency_mismatch", "A refund is in the currency of the purchase.", currency=currency)
            yield _line(item, line.amount.amount, 0)
        else:
            yield _line(item, item.left, item.quantity_left)


def _units(item: RefundableItem, quantity: int) -> PlannedLine:
    if quantity > item.quantity_left:
        raise _exceeds(item, quantity=quantity)
    return _line(item, min(quantity * item.unit_price, item.left), quantity)


def _line(item: RefundableItem, amount: int, quantity: int) -> PlannedLine:
    if amount > item.left or amount == 0:
        raise _exceeds(item, amount=amount)
    return PlannedLine(item.running_number, quantity, amount, _tax_share(item, amount))


def _tax_share(item: RefundableItem, amount: int) -> int:
    """The tax in the next `amount` of an item, so that the shares of all refunds add up to the item's tax.

    Taken as the difference of running totals. A failed refund gives its share back and may leave the running total
    one minor unit off; the bounds keep both the tax and the net of an item from going back more than once.
    """
    running = (2 * item.tax * (item.refunded + amount) + item.gross) // (2 * item.gross)
    net_left = (item.gross - item.tax) - (item.refunded - item.refunded_tax)
    return max(0, amount - net_left, min(running - item.refunded_tax, amount, item.tax - item.refunded_tax))


def _exceeds(item: RefundableItem, **wanted: int) -> Refused:
    return Refused(
        "exceeds_refundable_amount",
        "Less is left of the item than the refund wants.",
        running_number=item.running_number,
        refundable_amount=item.left,
        refundable_quantity=item.quantity_left,
        errors=(),
        **wanted,
    )


def status_after_refund(status: PurchaseStatus, paid: int, returned: int) -> PurchaseStatus:
    """Where a purchase stands once money has gone back.

    A refund that was under way when the buyer's bank pulled the money back changes no status any more.
    """
    to = S.REFUNDED if returned >= paid else S.PARTIALLY_REFUNDED
    return to if may_move(status, Trigger.REFUND, to) else status
