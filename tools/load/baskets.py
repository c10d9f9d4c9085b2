"""What is bought: the invoices of a real shop where its file is at hand, made up ones otherwise."""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

from shared.contracts.purchases import Payment, PurchaseItem, RecordPurchase
from shared.contracts.values import Money
from tools.demo.customers import contact_of, payment_of
from tools.demo.reading import CURRENCY, Tally, find_files, read_invoices
from tools.dev.instance import CHECKOUT
from tools.load.shots import RECEIPT, Shot

REAL_DATA: Final = Path(os.environ.get("AFTERSALE_REAL_DATA", CHECKOUT.parent / "shared" / "data" / "online-retail"))
"""Transactions of a real shop, in a folder beside the checkout; they are not part of the project."""
_MOST_BASKETS: Final = 2000
_LARGEST_BODY: Final = 250_000
_ORDER: Final = "ORDER-NUMBER-HERE"
_GENERATED: Final = 500
_PRODUCTS: Final = 400
_MEDIAN_LINES_LOG: Final = 2.7
"""Half of the made up baskets have 15 lines or more, as in the file of the real shop."""


@dataclass(frozen=True)
class Basket:
    """A purchase that only lacks its order number."""

    body: bytes
    amount: int
    lines: int

    def record(self, order: str) -> Shot:
        """The command that records it."""
        body = self.body.replace(_ORDER.encode(), order.encode())
        return Shot("record", RecordPurchase.key, body, order=order, amount=self.amount, mail=RECEIPT)


@dataclass(frozen=True)
class Baskets:
    """Baskets in the order in which they are bought, again and again."""

    baskets: Sequence[Basket]
    source: str

    @classmethod
    def load(cls) -> "Baskets":
        """The real shop's, else made up ones."""
        real = _real(REAL_DATA) if REAL_DATA.is_dir() else []
        if real:
            return cls(real, "invoices of the Online Retail file")
        return cls(list(_generated(random.Random(7))), "made up")  # noqa: S311 - the same baskets each time

    def records(self, prefix: str) -> Iterator[Shot]:
        """Commands without an end, numbered."""
        return (self.baskets[number % len(self.baskets)].record(f"{prefix}{number}") for number in count())

    @property
    def mean_lines(self) -> float:
        return sum(basket.lines for basket in self.baskets) / len(self.baskets)


def _real(folder: Path) -> list[Basket]:
    tally, found = Tally(), []
    for invoice in read_invoices(find_files([folder]), tally, limit=3 * _MOST_BASKETS):
        if invoice.lines and not invoice.is_cancellation:
            sold = [(line.stock_code, line.description, line.quantity, line.price) for line in invoice.lines]
            if basket := _basket(invoice.customer, invoice.country, sold):
                found.append(basket)
        if len(found) == _MOST_BASKETS:
            break
    return found


def _generated(choice: random.Random) -> Iterator[Basket]:
    prices = [choice.randint(30, 2500) for _ in range(_PRODUCTS)]
    for number in range(_GENERATED):
        lines = min(150, max(1, round(choice.lognormvariate(_MEDIAN_LINES_LOG, 0.9))))
        sold = [
            (f"P{product:04}", f"Product number {product}", choice.choice((1, 1, 2, 4, 6, 12)), prices[product])
            for product in choice.sample(range(_PRODUCTS), lines)
        ]
        if basket := _basket(str(20_000 + number), "United Kingdom", sold):
            yield basket


def _basket(customer: str, country: str, sold: Sequence[tuple[str, str, int, int]]) -> Basket | None:
    """None where an invoice cannot be a purchase: text that cannot be stored, or too much of it."""
    payment_type, last4 = payment_of(customer)
    amount = sum(quantity * price for _, _, quantity, price in sold)
    now = datetime.now(UTC)
    try:
        command = RecordPurchase(
            client_order_id=_ORDER,
            ordered_at=now,
            currency=CURRENCY,
            billing_contact=contact_of(customer, country, Tally()),
            items=tuple(
                PurchaseItem(product_id=code, product_name=name, quantity=quantity, unit_price=_money(price))
                for code, name, quantity, price in sold
            ),
            payment_type=payment_type,
            card_last4=last4,
            payment=Payment(amount=_money(amount), paid_at=now + timedelta(seconds=1)),
            customer_reference=customer,
        )
    except ValueError:
        return None
    body = command.model_dump_json(exclude_none=True).encode()
    return Basket(body, amount, len(sold)) if len(body) < _LARGEST_BODY else None


def _money(amount: int) -> Money:
    return Money(amount=amount, currency=CURRENCY)
