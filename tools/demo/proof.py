"""The proof: what was sent, what the databases hold and what the mail catcher received are one and the same.

Everything is compared record by record; the sums are what people see of it.
"""

from dataclasses import dataclass
from typing import Final

from tools.demo.journal import Journal

_CAUGHT: Final = """
(SELECT p.order_id, m.kind, m.amount, count(DISTINCT m.message_id) AS mails
 FROM mail m JOIN purchase p USING (reference_number) WHERE p.state = 'accepted' GROUP BY 1, 2, 3)
"""
_OURS: Final = """
(SELECT order_id, amount, count(*) AS refunds FROM refund WHERE state = 'accepted' GROUP BY 1, 2)
"""
_CONFIRMED: Final = f"""
FROM {_OURS} o JOIN {_CAUGHT} c ON c.kind = 'refund' AND c.order_id = o.order_id AND c.amount = o.amount
"""
_STORED_OURS: Final = """
FROM stored_refund s JOIN refund r USING (refund_id) WHERE r.state = 'accepted' AND s.state = 'completed'
"""
_STORED_OTHERS: Final = """
FROM stored_refund s LEFT JOIN refund r ON r.refund_id = s.refund_id AND r.state = 'accepted'
WHERE r.refund_id IS NULL AND s.state = 'completed' AND s.is_announced
"""
_ACCEPTED_PURCHASES: Final = "FROM purchase WHERE state = 'accepted'"
_ACCEPTED_REFUNDS: Final = "FROM refund WHERE state = 'accepted'"
_RECEIPTS: Final = (
    "FROM mail m JOIN purchase p USING (reference_number) WHERE p.state = 'accepted' AND m.kind = 'receipt'"
)

_CHECKS: Final = (
    (
        "accepted, but not in the purchases database as it was sent",
        """SELECT p.order_id FROM purchase p LEFT JOIN stored_purchase s USING (order_id)
        WHERE p.state = 'accepted' AND (s.order_id IS NULL OR s.reference_number <> p.reference_number
        OR s.amount <> p.amount OR s.paid <> p.amount OR s.currency <> 'GBP' OR s.email <> p.email)""",
    ),
    (
        "refund accepted, but not completed in the purchases database as it was wanted",
        """SELECT r.refund_id FROM refund r LEFT JOIN stored_refund s USING (refund_id)
        WHERE r.state = 'accepted' AND (s.id IS NULL OR s.state <> 'completed' OR s.amount <> r.amount
        OR s.order_id <> r.order_id OR s.currency <> 'GBP')""",
    ),
    (
        "not exactly one receipt in the mail catcher",
        """WITH caught AS (SELECT reference_number, count(DISTINCT message_id) AS mails FROM mail
        WHERE kind = 'receipt' GROUP BY 1)
        SELECT p.order_id FROM purchase p LEFT JOIN caught c USING (reference_number)
        WHERE p.state = 'accepted' AND coalesce(c.mails, 0) <> 1""",
    ),
    (
        "receipt names another amount than was paid",
        f"SELECT p.order_id {_RECEIPTS} AND m.amount IS NOT p.amount",
    ),
    (
        "confirmations in the mail catcher are not those of the completed refunds",
        """WITH counted AS (
        SELECT order_id, amount, 1 AS n FROM stored_refund WHERE state = 'completed' AND is_announced
        UNION ALL
        SELECT p.order_id, m.amount, -count(DISTINCT m.message_id) FROM mail m JOIN purchase p USING (reference_number)
        WHERE p.state = 'accepted' AND m.kind = 'refund' GROUP BY 1, 2)
        SELECT order_id FROM counted GROUP BY order_id, amount HAVING sum(n) <> 0""",
    ),
    (
        "mail addressed to somebody else",
        """SELECT m.file FROM mail m JOIN purchase p USING (reference_number)
        WHERE p.state = 'accepted' AND m.recipient <> p.email""",
    ),
    (
        "one Message-ID for different mails",
        """SELECT message_id FROM mail WHERE kind <> ''
        GROUP BY message_id HAVING count(DISTINCT reference_number || kind || amount) > 1""",
    ),
    (
        "mail in the catcher that the notifications database does not have as sent",
        """SELECT m.message_id FROM mail m JOIN purchase p USING (reference_number)
        LEFT JOIN stored_email e USING (message_id)
        WHERE p.state = 'accepted' AND (e.message_id IS NULL OR e.state <> 'sent' OR e.kind <> m.kind
        OR e.recipient <> m.recipient OR e.reference_number <> m.reference_number)""",
    ),
    (
        "mail in the notifications database that never reached the catcher",
        "SELECT message_id FROM stored_email WHERE message_id NOT IN (SELECT message_id FROM mail)",
    ),
    ("purchase without any reply", "SELECT order_id FROM purchase WHERE state NOT IN ('accepted', 'refused')"),
    ("refund without any reply", "SELECT refund_id FROM refund WHERE state NOT IN ('accepted', 'refused')"),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One figure as each place has it; None where a place has no such figure. Money in minor units."""

    name: str
    sent: int
    purchases: int | None
    notifications: int | None
    mails: int | None
    is_money: bool = False

    @property
    def agrees(self) -> bool:
        return all(figure in (None, self.sent) for figure in (self.purchases, self.notifications, self.mails))


@dataclass(frozen=True)
class Difference:
    """Records that are not the same everywhere."""

    what: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Proof:
    """The figures, and whatever does not fit."""

    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    copies: int
    """Mails that came more than once under one Message-ID: allowed where an answer of the mail server was lost."""

    @property
    def holds(self) -> bool:
        return not self.differences and all(row.agrees for row in self.rows)


def compare(journal: Journal) -> Proof:
    """Compare what the journal has of all places."""
    return Proof(
        rows=tuple(_rows(journal)),
        differences=tuple(
            Difference(what, len(found), tuple(found[:5]))
            for what, check in _CHECKS
            if (found := journal.examples(check))
        ),
        copies=journal.figure("SELECT count(*) - count(DISTINCT message_id) FROM mail WHERE kind <> ''"),
    )


def _rows(journal: Journal) -> list[Row]:
    def count(source: str) -> int:
        return journal.figure(f"SELECT count(*) {source}")

    def total(source: str, column: str = "amount") -> int:
        return journal.figure(f"SELECT coalesce(sum({column}), 0) {source}")

    purchases, paid = count(_ACCEPTED_PURCHASES), total(_ACCEPTED_PURCHASES)
    refunds, returned = count(_ACCEPTED_REFUNDS), total(_ACCEPTED_REFUNDS)
    sent = "FROM stored_email WHERE state = 'sent' AND kind ="
    return [
        Row("purchases", purchases, count("FROM stored_purchase"), None, None),
        Row("paid, GBP", paid, total("FROM stored_purchase", "paid"), None, None, is_money=True),
        Row(
            "receipts", purchases, None, count(f"{sent} 'receipt'"),
            journal.figure(f"SELECT count(DISTINCT message_id) {_RECEIPTS}"),
        ),
        Row("  amounts, GBP", paid, None, None, total(
            f"FROM {_CAUGHT} WHERE kind = 'receipt'", "amount * mails"), is_money=True,
        ),
        Row("refunds", refunds, count(_STORED_OURS), None, None),
        Row("refunded, GBP", returned, total(_STORED_OURS, "s.amount"), None, None, is_money=True),
        Row(
            "confirmations", refunds, None, count(f"{sent} 'refund'") - count(_STORED_OTHERS),
            total(_CONFIRMED, "min(o.refunds, c.mails)"),
        ),
        Row("  amounts, GBP", returned, None, None, total(
            _CONFIRMED, "o.amount * min(o.refunds, c.mails)"), is_money=True,
        ),
    ]  # fmt: skip
