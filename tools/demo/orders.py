"""From invoices to commands: what is sent for an invoice, and which refunds a cancellation means."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid5

from pydantic import ValidationError

from shared.contracts.purchases import (
    Payment,
    PurchaseItem,
    RecordPurchase,
    RefundKind,
    RefundLine,
    RefundReason,
    RequestRefund,
)
from shared.contracts.values import Money
from tools.demo.customers import contact_of, payment_of
from tools.demo.journal import Journal, SoldLine
from tools.demo.reading import CURRENCY, Invoice, Line, Reason, Tally

CLIENT: Final = "demo-shop"
"""The seller's account in whose name everything is sent."""
_WISHES: Final = UUID("0d3a4c9e-6a1b-5b7e-9c55-5f3c2c8e7a10")
_BODY_LIMIT: Final = 250_000
_REASONS: Final = (
    RefundReason.PRODUCT_DISSATISFACTION,
    RefundReason.WRONG_PRODUCT,
    RefundReason.NOT_DELIVERED,
    RefundReason.CUSTOMER_ERROR,
    RefundReason.GOODWILL,
)


@dataclass(frozen=True)
class Wish:
    """A command that is ready to be sent. The same number and content always have the same message id."""

    number: str
    """The invoice, or the cancellation."""
    body: bytes

    @property
    def message_id(self) -> UUID:
        return uuid5(_WISHES, f"{CLIENT}/{self.number}/{hashlib.sha256(self.body).hexdigest()}")


class Orders:
    """Turns invoices into commands, in the order of the file, and remembers in the journal what was sold."""

    def __init__(self, journal: Journal, tally: Tally) -> None:
        self._journal = journal
        self._tally = tally

    def take(self, invoice: Invoice) -> Wish | None:
        """The purchase that an invoice is. A cancellation's refunds are planned in the journal instead."""
        if not invoice.lines:
            return None
        if invoice.is_cancellation:
            self._plan_refunds(invoice)
            return None
        return self._purchase(invoice)

    def _purchase(self, invoice: Invoice) -> Wish | None:
        if self._journal.knows_purchase(invoice.number):
            self._drop(Reason.TORN_APART, len(invoice.lines))
            return None
        sold = [(line, item) for line in invoice.lines if (item := self._item(line))]
        if not sold:
            return None
        command = self._command(invoice, [item for _, item in sold])
        body = command.model_dump_json(exclude_none=True).encode() if command else b""
        if command is None or command.payment is None or len(body) > _BODY_LIMIT:
            self._drop(Reason.NOT_VALID if command is None else Reason.TOO_MANY_LINES, len(sold))
            return None
        self._journal.add_purchase(invoice.number, command.payment.amount.amount, command.billing_contact.email)
        for number, (line, _) in enumerate(sold, start=1):
            product = (invoice.customer, line.stock_code, line.price)
            self._journal.add_sold(product, order_id=invoice.number, running_number=number, quantity=line.quantity)
        return Wish(invoice.number, body)

    def _drop(self, reason: Reason, lines: int) -> None:
        self._tally.unusable[reason] += lines

    def _item(self, line: Line) -> PurchaseItem | None:
        try:
            return PurchaseItem(
                product_id=line.stock_code,
                product_name=line.description,
                quantity=line.quantity,
                unit_price=_money(line.price),
            )
        except ValidationError:
            self._drop(Reason.NOT_VALID, 1)
            return None

    def _command(self, invoice: Invoice, items: Sequence[PurchaseItem]) -> RecordPurchase | None:
        if invoice.at is None:
            return None
        payment_type, last4 = payment_of(invoice.customer)
        total = sum(item.unit_price.amount * item.quantity for item in items)
        try:
            return RecordPurchase(
                client_order_id=invoice.number,
                ordered_at=invoice.at,
                currency=CURRENCY,
                billing_contact=contact_of(invoice.customer, invoice.country, self._tally),
                items=tuple(items),
                payment_type=payment_type,
                card_last4=last4,
                payment=Payment(amount=_money(total), paid_at=invoice.at + timedelta(minutes=1)),
                customer_reference=invoice.customer,
            )
        except ValidationError:
            return None

    def _plan_refunds(self, cancellation: Invoice) -> None:
        """Match a cancellation with earlier sales and plan one refund per purchase that it touches."""
        if self._journal.knows_cancellation(cancellation.number):
            self._drop(Reason.TORN_APART, len(cancellation.lines))
            return
        taken: dict[str, dict[int, _Taken]] = defaultdict(dict)
        for line in cancellation.lines:
            for part in self._match(cancellation.customer, line):
                known = taken[part.sold.order_id].get(part.sold.running_number)
                taken[part.sold.order_id][part.sold.running_number] = part.joined(known)
        for order_id, parts in taken.items():
            number = cancellation.number if len(taken) == 1 else f"{cancellation.number}/{order_id}"
            command = _refund(number, order_id, list(parts.values()))
            amount = sum(part.quantity * part.price for part in parts.values())
            self._journal.add_refund(number, order_id, amount, command.model_dump_json(exclude_none=True).encode())

    def _match(self, customer: str, line: Line) -> Iterator["_Taken"]:
        """The sales a cancelled line takes units from: the newest that has enough, else several from the newest on."""
        product = (customer, line.stock_code, line.price)
        sales = self._journal.sold_lines(product)
        enough = next((sold for sold in sales if sold.unrefunded >= line.quantity), None)
        if enough is not None:
            sales = [enough]
        elif sum(sold.unrefunded for sold in sales) < line.quantity:
            self._drop(Reason.MORE_THAN_SOLD if sales else Reason.NO_SALE, 1)
            return
        left = line.quantity
        for sold in sales:
            units = min(left, sold.unrefunded)
            if units:
                self._journal.take_back(product, sold.place, units)
                yield _Taken(sold, units, line.price)
            left -= units


@dataclass(frozen=True)
class _Taken:
    """Units of a sold line that a cancellation takes back."""

    sold: SoldLine
    quantity: int
    price: int

    @property
    def is_whole(self) -> bool:
        return self.quantity == self.sold.quantity

    def joined(self, other: "_Taken | None") -> "_Taken":
        return _Taken(self.sold, self.quantity + other.quantity, self.price) if other else self


def _refund(number: str, order_id: str, parts: Sequence[_Taken]) -> RequestRefund:
    """Whole items where nothing of them was cancelled before, units otherwise: the order of refunds cannot matter."""
    kind = RefundKind.ITEMS if all(part.is_whole for part in parts) else RefundKind.QUANTITY
    lines = tuple(
        RefundLine(
            running_number=part.sold.running_number,
            quantity=part.quantity if kind is RefundKind.QUANTITY else None,
        )
        for part in parts
    )
    reason = _REASONS[hashlib.sha256(number.encode()).digest()[0] % len(_REASONS)]
    return RequestRefund(
        client_order_id=order_id, kind=kind, lines=lines, reason=reason, client_refund_id=number,
    )  # fmt: skip


def _money(amount: int) -> Money:
    return Money(amount=amount, currency=CURRENCY)
