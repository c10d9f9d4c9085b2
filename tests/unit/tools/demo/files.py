"""Small files of transactions for the tests of the demo."""

import csv
import gzip
import io
from pathlib import Path

from tools.demo.journal import Journal
from tools.demo.orders import Orders, Wish
from tools.demo.reading import COLUMNS, Tally, read_invoices

Row = tuple[str, str, str, int, str, str, str, str]


def row(
    invoice: str,
    code: str = "T1",
    quantity: int = 1,
    price: str = "2.50",
    customer: str = "17850",
    *,
    description: str = "TEAPOT",
    at: str = "2026-03-02 08:26:00",
    country: str = "United Kingdom",
) -> Row:
    """A line of a file."""
    return (invoice, code, description, quantity, at, price, customer, country)


def write(file: Path, *rows: Row) -> Path:
    """A file with these lines, compressed if its name says so."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    content = text.getvalue().encode()
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return file


class Taken:
    """What the demo makes of a file."""

    def __init__(self, *files: Path, limit: int | None = None) -> None:
        self.tally = Tally()
        self.journal = Journal()
        orders = Orders(self.journal, self.tally)
        self.invoices = list(read_invoices(files, self.tally, limit))
        self.purchases: list[Wish] = [wish for invoice in self.invoices if (wish := orders.take(invoice))]
        self.refunds = [Wish(refund_id, body) for refund_id, body in self.journal.refunds()]
