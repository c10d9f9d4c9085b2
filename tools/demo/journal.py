"""What the demo has read, sent, been answered and found, kept in a temporary file instead of in memory."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tools.demo.mails import ReceivedMail

_TABLES: Final = """
CREATE TABLE purchase (
    order_id TEXT PRIMARY KEY, amount INTEGER NOT NULL, email TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'sent', code TEXT, reference_number TEXT
) WITHOUT ROWID;
CREATE INDEX purchase_reference ON purchase (reference_number);
CREATE TABLE sold (
    customer TEXT NOT NULL, stock_code TEXT NOT NULL, price INTEGER NOT NULL, place INTEGER NOT NULL,
    order_id TEXT NOT NULL, running_number INTEGER NOT NULL, quantity INTEGER NOT NULL, unrefunded INTEGER NOT NULL,
    PRIMARY KEY (customer, stock_code, price, place)
) WITHOUT ROWID;
CREATE TABLE refund (
    place INTEGER PRIMARY KEY, refund_id TEXT NOT NULL UNIQUE, order_id TEXT NOT NULL, amount INTEGER NOT NULL,
    body BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'planned', code TEXT
);
CREATE INDEX refund_order ON refund (order_id);
CREATE TABLE mail (
    file TEXT PRIMARY KEY, message_id TEXT NOT NULL, kind TEXT NOT NULL, reference_number TEXT NOT NULL,
    recipient TEXT NOT NULL, amount INTEGER
) WITHOUT ROWID;
CREATE INDEX mail_reference ON mail (reference_number, kind);
CREATE TABLE stored_purchase (
    order_id TEXT PRIMARY KEY, reference_number TEXT NOT NULL, amount INTEGER NOT NULL, paid INTEGER NOT NULL,
    currency TEXT NOT NULL, email TEXT NOT NULL, is_new INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE stored_refund (
    id TEXT PRIMARY KEY, refund_id TEXT, order_id TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL,
    state TEXT NOT NULL, is_announced INTEGER NOT NULL, is_new INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX stored_refund_refund ON stored_refund (refund_id);
CREATE TABLE stored_email (
    message_id TEXT PRIMARY KEY, kind TEXT NOT NULL, reference_number TEXT NOT NULL, recipient TEXT NOT NULL,
    state TEXT NOT NULL, is_new INTEGER NOT NULL
) WITHOUT ROWID;
"""

ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
UNANSWERED: Final = "unanswered"
Product = tuple[str, str, int]
"""Customer, stock code and price: what a cancellation must have in common with a sale."""


@dataclass
class SoldLine:
    """A line of an earlier sale with the units that were not cancelled yet."""

    place: int
    order_id: str
    running_number: int
    quantity: int
    unrefunded: int


class Journal:
    """One run of the demo. The file has no name: it is gone with the process."""

    def __init__(self) -> None:
        self.database = sqlite3.connect("", isolation_level=None)
        self.database.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16000; {_TABLES}"
        )
        self._places = 0

    def close(self) -> None:
        self.database.close()

    def knows_purchase(self, order_id: str) -> bool:
        """Whether an invoice of this number was read before."""
        return self._one("SELECT count(*) FROM purchase WHERE order_id = ?", order_id) > 0

    def knows_cancellation(self, number: str) -> bool:
        """Whether a refund of this cancellation was planned before."""
        found = "SELECT count(*) FROM refund WHERE refund_id = ? OR (refund_id > ? AND refund_id < ?)"
        return self._one(found, number, f"{number}/", f"{number}0") > 0

    def add_purchase(self, order_id: str, amount: int, email: str) -> None:
        self.database.execute(
            "INSERT INTO purchase (order_id, amount, email) VALUES (?, ?, ?)", (order_id, amount, email)
        )

    def add_sold(self, product: Product, *, order_id: str, running_number: int, quantity: int) -> None:
        self._places += 1
        self.database.execute(
            "INSERT INTO sold VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*product, self._places, order_id, running_number, quantity, quantity),
        )

    def sold_lines(self, product: Product) -> list[SoldLine]:
        """The sales of this product to this customer at this price, the newest first."""
        rows = self.database.execute(
            "SELECT place, order_id, running_number, quantity, unrefunded FROM sold "
            "WHERE customer = ? AND stock_code = ? AND price = ? AND unrefunded > 0 ORDER BY place DESC",
            product,
        )
        return [SoldLine(*row) for row in rows]

    def take_back(self, product: Product, place: int, quantity: int) -> None:
        """Note that units of a sale are refunded."""
        self.database.execute(
            "UPDATE sold SET unrefunded = unrefunded - ? "
            "WHERE customer = ? AND stock_code = ? AND price = ? AND place = ?",
            (quantity, *product, place),
        )

    def add_refund(self, refund_id: str, order_id: str, amount: int, body: bytes) -> None:
        self.database.execute(
            "INSERT INTO refund (refund_id, order_id, amount, body) VALUES (?, ?, ?, ?)",
            (refund_id, order_id, amount, body),
        )

    def refunds(self) -> Iterator[tuple[str, bytes]]:
        """The planned refunds in the order of the cancellations."""
        last = 0
        while rows := self.database.execute(
            "SELECT place, refund_id, body FROM refund WHERE place > ? ORDER BY place LIMIT 200", (last,)
        ).fetchall():
            last = rows[-1][0]
            yield from ((refund_id, body) for _, refund_id, body in rows)

    def note_purchase(self, order_id: str, state: str, code: str | None, reference_number: str | None) -> None:
        """Keep how a purchase was answered."""
        self.database.execute(
            "UPDATE purchase SET state = ?, code = ?, reference_number = ? WHERE order_id = ?",
            (state, code, reference_number, order_id),
        )

    def note_refund(self, refund_id: str, state: str, code: str | None) -> None:
        """Keep how a refund was answered."""
        self.database.execute("UPDATE refund SET state = ?, code = ? WHERE refund_id = ?", (state, code, refund_id))

    def add_mails(self, mails: Iterable[ReceivedMail]) -> None:
        """Keep what was found in the mail catcher's folder."""
        self.database.executemany(
            "INSERT OR IGNORE INTO mail VALUES (?, ?, ?, ?, ?, ?)",
            [(m.file, m.message_id, m.kind, m.reference_number, m.recipient, m.amount) for m in mails],
        )

    def has_mail(self, file: str) -> bool:
        return self._one("SELECT count(*) FROM mail WHERE file = ?", file) > 0

    def accepted_orders(self) -> Iterator[list[str]]:
        """The order numbers of the accepted purchases, some at a time."""
        return self._keys("order_id")

    def reference_numbers(self) -> Iterator[list[str]]:
        """The reference numbers of the accepted purchases, some at a time."""
        return self._keys("reference_number")

    def _keys(self, column: str) -> Iterator[list[str]]:
        last = ""
        while rows := self.database.execute(
            f"SELECT {column} FROM purchase WHERE state = ? AND {column} > ? ORDER BY {column} LIMIT 500",  # noqa: S608
            (ACCEPTED, last),
        ).fetchall():
            last = rows[-1][0]
            yield [row[0] for row in rows]

    def add_rows(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Keep rows of a service's database in the table of the same columns."""
        if rows:
            places = ", ".join("?" * len(rows[0]))
            self.database.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608 - our own names

    def forget_stored(self) -> None:
        """Before the databases are read once more."""
        for table in ("stored_purchase", "stored_refund", "stored_email"):
            self.database.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own tables

    def count(self, table: str, state: str | None = None) -> int:
        if state is None:
            return self._one(f"SELECT count(*) FROM {table}")  # noqa: S608 - names of our own tables
        return self._one(f"SELECT count(*) FROM {table} WHERE state = ?", state)  # noqa: S608

    def refusals(self) -> Counter[str]:
        """Refused requests by their problem code."""
        rows = self.database.execute(
            "SELECT 'purchase ' || code, count(*) FROM purchase WHERE code IS NOT NULL GROUP BY 1 UNION ALL "
            "SELECT 'refund ' || code, count(*) FROM refund WHERE code IS NOT NULL GROUP BY 1"
        )
        return Counter(dict(rows.fetchall()))

    def mails_arrived(self) -> int:
        """Mails that have come for accepted purchases."""
        return self._one(
            "SELECT count(DISTINCT message_id) FROM mail JOIN purchase USING (reference_number) WHERE state = ?",
            ACCEPTED,
        )

    def mails_expected(self) -> int:
        """A receipt for each accepted purchase and a confirmation for each accepted refund."""
        return self.count("purchase", ACCEPTED) + self.count("refund", ACCEPTED)

    def example(self) -> str | None:
        """The order number of an accepted purchase, of one with a refund if there is any."""
        row = self.database.execute(
            "SELECT p.order_id FROM purchase p LEFT JOIN refund r ON r.order_id = p.order_id AND r.state = ? "
            "WHERE p.state = ? ORDER BY r.order_id IS NULL, p.order_id LIMIT 1",
            (ACCEPTED, ACCEPTED),
        ).fetchone()
        return str(row[0]) if row else None

    def figure(self, statement: str) -> int:
        """The one number that a statement asks for."""
        return self._one(statement)

    def examples(self, statement: str) -> list[str]:
        """The first column of what a statement finds."""
        return [str(row[0]) for row in self.database.execute(statement)]

    def _one(self, statement: str, *values: str | int) -> int:
        return int(self.database.execute(statement, values).fetchone()[0])
