"""Reading a shop's file of transactions, line by line, into invoices.

The columns are those of the public Online Retail data set: `InvoiceNo, StockCode, Description, Quantity, InvoiceDate,
UnitPrice, CustomerID, Country`. An invoice whose number begins with `C` cancels earlier sales. Lines that cannot be
used are counted by reason and never stop the reading.
"""

import csv
import gzip
import re
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Final, TextIO

COLUMNS: Final = (
    "InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country",
)  # fmt: skip
CURRENCY: Final = "GBP"
OPEN_INVOICES: Final = 20
"""So many invoices are held back, as the lines of one may be mixed with those of its neighbours."""
MOST_LINES: Final = 1500
_MOST_UNITS: Final = 1_000_000
_HIGHEST_PRICE: Final = Decimal(10_000_000)
_NUMBER: Final = re.compile(r"C?[0-9][A-Za-z0-9.-]{0,30}")
_NO_PRODUCTS: Final = frozenset(
    {"POST", "DOT", "M", "D", "S", "B", "C2", "CRUK", "AMAZONFEE", "BANK CHARGES", "ADJUST", "ADJUST2"}
)
"""Postage, discounts, manual entries, samples, fees: bookings of the shop, nothing that was sold."""


class Reason(StrEnum):
    """Why a line is not used, in words for people."""

    UNREADABLE = "cannot be read"
    OTHER_DOCUMENT = "neither an invoice nor a cancellation"
    NO_CUSTOMER = "no customer"
    NO_PRODUCT = "no product (postage, discount, fee …)"
    NEGATIVE_PRICE = "negative price"
    NO_PRICE = "no price"
    WRONG_QUANTITY = "quantity does not fit the document"
    IMPLAUSIBLE = "implausible price or quantity"
    OTHER_CUSTOMER = "another customer than the rest of its invoice"
    TOO_MANY_LINES = "invoice too long"
    TORN_APART = "lies too far from the rest of its invoice"
    NOT_VALID = "text that cannot be stored"
    NO_SALE = "cancellation without an earlier sale"
    MORE_THAN_SOLD = "cancellation of more than is left of earlier sales"
    FILE_DAMAGED = "rest of a damaged file"


class FileUnusable(Exception):
    """There is nothing to read under a path, or it is no such file."""


@dataclass(frozen=True)
class Line:
    """A usable line. Price in minor units; the quantity is positive, in cancellations too."""

    stock_code: str
    description: str
    quantity: int
    price: int


@dataclass
class Invoice:
    """The usable lines of one document, in their order."""

    number: str
    customer: str = ""
    country: str = ""
    at: datetime | None = None
    lines: list[Line] = field(default_factory=list)

    @property
    def is_cancellation(self) -> bool:
        return self.number.startswith("C")


@dataclass
class Tally:
    """What happened to the lines of the files."""

    lines: int = 0
    unusable: Counter[Reason] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    """Lines that were used with a change."""


class Unusable(Exception):
    """A line is not used."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Files as named, the `*.csv` and `*.csv.gz` of folders, and patterns that the shell has left alone, in order.

    Raises FileUnusable.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            some = sorted([*path.glob("*.csv"), *path.glob("*.csv.gz")])
        elif path.exists():
            some = [path]
        else:
            some = sorted(path.parent.glob(path.name)) if path.parent.is_dir() else []
        if not some:
            raise FileUnusable(f"there is no file {path}")
        found += some
    for file in found:
        _check(file)
    return found


def _check(file: Path) -> None:
    try:
        with _open(file) as text:
            columns = next(csv.reader(text), [])
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise FileUnusable(f"{file} cannot be read: {error}") from error
    if missing := [column for column in COLUMNS if column not in columns]:
        raise FileUnusable(f"{file} has no column {', '.join(missing)}")


def count_invoices(files: Iterable[Path], limit: int | None) -> int:
    """About how many invoices there are to read, for the progress bar."""
    count, recent = 0, deque[str](maxlen=OPEN_INVOICES)
    for row in _rows(files, Tally()):
        number = (row.get("InvoiceNo") or "").strip()
        if number not in recent:
            recent.append(number)
            count += 1
            if count == limit:
                break
    return count


def read_invoices(files: Iterable[Path], tally: Tally, limit: int | None = None) -> Iterator[Invoice]:
    """Yield invoices and cancellations in the order in which they begin; at most `limit`, unusable ones included.

    An invoice comes without lines if none of them can be used. Only a few invoices are in memory at a time.
    """
    waiting: dict[str, Invoice | None] = {}
    begun = 0
    for row in _rows(files, tally):
        number = (row.get("InvoiceNo") or "").strip()
        if number not in waiting:
            begun += 1
            # Invoices beyond the limit only push the last ones out, so that a limit never cuts an invoice short.
            waiting[number] = Invoice(number) if limit is None or begun <= limit else None
        if invoice := waiting[number]:
            tally.lines += 1
            try:
                _add(invoice, row, tally)
            except Unusable as no:
                tally.unusable[no.reason] += 1
        if len(waiting) > OPEN_INVOICES:
            oldest = waiting.pop(next(iter(waiting)))
            if oldest is None:
                return
            yield oldest
    yield from (invoice for invoice in waiting.values() if invoice)


def _rows(files: Iterable[Path], tally: Tally) -> Iterator[dict[str, str]]:
    for file in files:
        try:
            with _open(file) as text:
                yield from csv.DictReader(text)
        except (OSError, EOFError, zlib.error, csv.Error):
            tally.unusable[Reason.FILE_DAMAGED] += 1


def _open(file: Path) -> TextIO:
    if file.name.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return file.open(encoding="utf-8-sig", errors="replace", newline="")


def _add(invoice: Invoice, row: dict[str, str], tally: Tally) -> None:
    line = _line(invoice, row, tally)
    customer = _plain_number(row["CustomerID"])
    if invoice.lines and customer != invoice.customer:
        raise Unusable(Reason.OTHER_CUSTOMER)
    if len(invoice.lines) >= MOST_LINES:
        raise Unusable(Reason.TOO_MANY_LINES)
    if not invoice.lines:
        try:
            invoice.at = _moment(row["InvoiceDate"])
        except ValueError:
            raise Unusable(Reason.UNREADABLE) from None
        invoice.customer, invoice.country = customer, (row["Country"] or "").strip()
    invoice.lines.append(line)


def _line(invoice: Invoice, row: dict[str, str], tally: Tally) -> Line:
    if any(row.get(column) is None for column in COLUMNS):
        raise Unusable(Reason.UNREADABLE)
    if not _NUMBER.fullmatch(invoice.number):
        raise Unusable(Reason.OTHER_DOCUMENT)
    try:
        quantity, price = int(row["Quantity"]), Decimal(row["UnitPrice"].strip())
    except (ValueError, InvalidOperation):
        raise Unusable(Reason.UNREADABLE) from None
    code = row["StockCode"].strip()
    if not row["CustomerID"].strip():
        raise Unusable(Reason.NO_CUSTOMER)
    if not code or code.upper() in _NO_PRODUCTS:
        raise Unusable(Reason.NO_PRODUCT)
    if invoice.is_cancellation:
        quantity = -quantity
    if quantity <= 0:
        raise Unusable(Reason.WRONG_QUANTITY)
    return Line(code, " ".join(row["Description"].split()) or code, quantity, _minor_units(price, quantity, tally))


def _minor_units(price: Decimal, quantity: int, tally: Tally) -> int:
    if not price.is_finite() or price > _HIGHEST_PRICE or quantity > _MOST_UNITS:
        raise Unusable(Reason.IMPLAUSIBLE)
    if price < 0:
        raise Unusable(Reason.NEGATIVE_PRICE)
    exact = price * 100
    rounded = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    if rounded == 0:
        raise Unusable(Reason.NO_PRICE)
    if rounded != exact:
        tally.remarks["price rounded to whole pence"] += 1
    return rounded


def _plain_number(text: str) -> str:
    """A customer's number as the shop means it: spreadsheets make `17850.0` of 17850."""
    plain = text.strip()
    return plain[:-2] if plain.endswith(".0") and plain[:-2].isdigit() else plain


def _moment(text: str) -> datetime:
    """The file names no time zone; its times are taken as UTC."""
    moment = datetime.fromisoformat(text.strip())
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
