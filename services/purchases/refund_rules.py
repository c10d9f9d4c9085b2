"""How much a refund is, item by item. Pure, like `domain.py`; rules: docs/domain.md, "Refunds"."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.purchases.domain import NotAllowed
from shared.contracts.purchases import RefundKind, RefundLine


@dataclass(frozen=True)
class ItemStanding:
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
    kind: RefundKind, lines: Sequence[RefundLine], items: Sequence[ItemStanding], *, currency: str, left: int
) -> RefundPlan:
    """What a refund returns of each item.

    `total` is all that is left, `items` what is left of the named items, `quantity` units at their price but not more
    than what is left, `amount` a sum per item within what is left of it. Never more than `left` of the whole purchase.
    Raises NotAllowed `item_not_found`, `currency_mismatch`, `exceeds_refundable_amount`, `nothing_left_to_refund`.
    """
    if kind is RefundKind.TOTAL:
        planned = [_line(item, item.left, item.quantity_left) for item in items if item.left]
    else:
        planned = list(_named(kind, lines, {item.running_number: item for item in items}, currency))
    if not planned:
        raise NotAllowed("nothing_left_to_refund", "All the money has been refunded or promised already.")
    plan = RefundPlan(tuple(planned))
    if plan.amount > left:
        raise NotAllowed(
            "exceeds_refundable_amount",
            "Less is left of the purchase than the refund wants.",
            refundable_amount=left,
            amount=plan.amount,
        )
    return plan


def _named(
    kind: RefundKind, lines: Sequence[RefundLine], items: Mapping[int, ItemStanding], currency: str
) -> Iterator[PlannedLine]:
    for line in lines:
        item = items.get(line.running_number)
        if item is None:
            raise NotAllowed(
                "item_not_found", "The purchase has no item of this number.", running_number=line.running_number
            )
        if kind is RefundKind.QUANTITY and line.quantity is not None:
            yield _units(item, line.quantity)
        elif kind is RefundKind.AMOUNT and line.amount is not None:
            if line.amount.currency != currency:
                raise NotAllowed("currency_mismatch", "A refund is in the currency of the purchase.", currency=currency)
            yield _line(item, line.amount.amount, 0)
        else:
            yield _line(item, item.left, item.quantity_left)


def _units(item: ItemStanding, quantity: int) -> PlannedLine:
    if quantity > item.quantity_left:
        raise _exceeds(item, quantity=quantity)
    return _line(item, min(quantity * item.unit_price, item.left), quantity)


def _line(item: ItemStanding, amount: int, quantity: int) -> PlannedLine:
    if amount > item.left or amount == 0:
        raise _exceeds(item, amount=amount)
    return PlannedLine(item.running_number, quantity, amount, _tax_share(item, amount))


def _tax_share(item: ItemStanding, amount: int) -> int:
    """The tax in the next `amount` of an item, so that the shares of all refunds add up to the item's tax.

    Taken as the difference of running totals. A failed refund gives its share back and may leave the running total
    one minor unit off; the bounds keep both the tax and the net of an item from going back more than once.
    """
    running = (2 * item.tax * (item.refunded + amount) + item.gross) // (2 * item.gross)
    net_left = (item.gross - item.tax) - (item.refunded - item.refunded_tax)
    return max(0, amount - net_left, min(running - item.refunded_tax, amount, item.tax - item.refunded_tax))


def _exceeds(item: ItemStanding, **wanted: int) -> NotAllowed:
    return NotAllowed(
        "exceeds_refundable_amount",
        "Less is left of the item than the refund wants.",
        running_number=item.running_number,
        refundable_amount=item.left,
        refundable_quantity=item.quantity_left,
        **wanted,
    )
