"""Whether anything was lost or doubled: what was sent against every database and against the mails that arrived."""

import asyncio
import re
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools.load.shots import CONFIRMATION, Ledger, Shot
from tools.load.world import World

_AT_ONCE: Final = 2000
_EXAMPLES: Final = 5
_MESSAGE_ID: Final = re.compile(rb"^Message-ID:\s*(<[^>]+>)", re.MULTILINE | re.IGNORECASE)
_HEAD_BYTES: Final = 4096
_PURCHASES: Final = """
SELECT client_order_id, gross, paid, refunded, returned FROM purchase
WHERE client_id = $2 AND client_order_id = ANY ($1)
"""
_REFUNDS: Final = """
SELECT p.client_order_id, r.id::text, r.amount, r.state FROM refund r JOIN purchase p ON p.id = r.purchase_id
WHERE p.client_id = $2 AND p.client_order_id = ANY ($1)
"""
_PAYOUTS: Final = """
SELECT p.client_order_id, o.amount FROM manual_payout o JOIN refund r ON r.id = o.refund_id
JOIN purchase p ON p.id = r.purchase_id WHERE p.client_id = $2 AND p.client_order_id = ANY ($1)
"""
_NOTED: Final = """
SELECT p.client_order_id FROM history_entry h JOIN purchase p ON p.id = h.purchase_id
WHERE h.subject = 'email.sent' AND p.client_id = $2 AND p.client_order_id = ANY ($1)
"""
_EMAILS: Final = """
SELECT reference_number, email_type, state, message_id_header FROM email
WHERE client_id = $2 AND reference_number = ANY ($1)
"""
_ATTACHED: Final = "SELECT client_order_id FROM purchase WHERE client_id = $2 AND client_order_id = ANY ($1)"
_ERRORS: Final = """
SELECT error_type, count(*) FROM error_entry WHERE client_id IN ($1, 'platform') AND last_seen >= to_timestamp($2)
GROUP BY 1
"""
_OUTBOX: Final = "SELECT count(*) FROM outbox"


@dataclass(frozen=True)
class Check:
    """Something that must be so: a count that was expected, what was found, and examples of what is wrong."""

    name: str
    expected: int
    found: int
    wrong: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return self.expected == self.found and not self.wrong


@dataclass
class Proof:
    """All checks, and where the mails of the run arrived when."""

    checks: list[Check] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return bool(self.checks) and all(check.holds for check in self.checks)


@dataclass(frozen=True)
class Arrived:
    """Copies of a mail in the mail catcher's folder, and when the first of them was there (Unix time)."""

    copies: int
    at: float


class Mailbox:
    """The mail catcher's folder, as far as it has been read."""

    def __init__(self, maildir: Path, since: float) -> None:
        self._maildir = maildir
        self._since = since
        self._known: set[str] = set()
        self._mails: dict[str, Arrived] = {}

    def read(self) -> dict[str, Arrived]:
        """Every mail since the run began, by its Message-ID. The names of the files tell when they came."""
        for folder in (self._maildir / "new", self._maildir / "cur"):
            for file in folder.iterdir() if folder.is_dir() else ():
                name = file.name.partition(":")[0]
                moment = int(name.partition(".")[0]) / 1e9
                if name not in self._known and moment >= self._since:
                    self._known.add(name)
                    self._note(file, moment)
        return self._mails

    def _note(self, file: Path, moment: float) -> None:
        with file.open("rb") as opened:
            found = _MESSAGE_ID.search(opened.read(_HEAD_BYTES))
        message_id = found.group(1).decode() if found else file.name
        before = self._mails.get(message_id)
        self._mails[message_id] = Arrived(before.copies + 1 if before else 1, before.at if before else moment)


class Prover:
    """Compares, as often as asked."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self._ledger = ledger
        self._began_at = ledger.began_at
        self._mailbox = Mailbox(world.maildir, self._began_at)

    async def wait(self, quiet_seconds: float) -> Proof:
        """Compare until all is well, or until nothing has changed for so long."""
        last: list[int] = []
        changed = time.monotonic()
        while True:
            proof = await self.compare()
            found = [check.found for check in proof.checks]
            if found != last:
                last, changed = found, time.monotonic()
            if proof.holds or time.monotonic() - changed > quiet_seconds:
                return proof
            await asyncio.sleep(1)

    async def compare(self) -> Proof:
        """One comparison of everything."""
        writes = [one for one in self._ledger.shots if not one.is_query]
        done = [one for one in writes if one.accepted and one.order]
        checks = [_answers(self._ledger.shots)]
        if done:
            checks += await self._purchases(done)
            checks += await self._mails(done)
            checks.append(await self._customers(done))
        checks.append(await self._left_over())
        errors = await self._errors()
        checks.append(Check("entries in the error log", 0, sum(errors.values()), tuple(errors)[:_EXAMPLES]))
        return Proof(checks, errors)

    async def _purchases(self, done: Sequence[Shot]) -> list[Check]:
        orders = {one.order for one in done if one.order}
        refunds = {one.order: one for one in done if one.mail == CONFIRMATION}
        recorded = {one.order: one for one in done if one.kind == "record"}
        stored = await self._rows("purchases", _PURCHASES, orders)
        gross = {row[0]: row[1] for row in stored}
        wrong = [order for order, one in recorded.items() if order in gross and gross[order] != one.amount]
        wrong += [row[0] for row in stored if row[0] in refunds and not row[3] == row[4] == refunds[row[0]].amount]
        checks = [_compared("purchases, each once, with the right money", orders, (row[0] for row in stored), wrong)]
        if refunds:
            rows = await self._rows("purchases", _REFUNDS, set(refunds))
            wrong = [
                row[0]
                for row in rows
                if (row[1], row[2], row[3]) != (str(refunds[row[0]].message_id), refunds[row[0]].amount, "completed")
            ]
            checks.append(_compared("refunds completed, each once", refunds, (row[0] for row in rows), wrong))
            paid = await self._rows("purchases", _PAYOUTS, set(refunds))
            checks.append(_compared("paid out, each once", refunds, (row[0] for row in paid)))
        mailed = [one.order for one in done if one.mail and one.order]
        noted = await self._rows("purchases", _NOTED, set(mailed))
        checks.append(_compared("mails noted in the history", mailed, (row[0] for row in noted)))
        return checks

    async def _mails(self, done: Sequence[Shot]) -> list[Check]:
        """Mails in the database and at the customer. Notes in the ledger when each arrived."""
        wanted = {(one.reference_number, one.mail): one for one in done if one.mail}
        if not wanted:
            return []
        rows = await self._rows("notifications", _EMAILS, {number for number, _ in wanted})
        arrived = await asyncio.to_thread(self._mailbox.read)
        copies = Counter[str]()
        for number, kind, _, message_id in rows:
            found = arrived.get(message_id)
            if found and (one := wanted.get((number, kind))):
                one.mailed = found.at - self._began_at
                copies[f"{number} {kind}"] = found.copies
        names = [f"{number} {kind}" for number, kind in wanted]
        sent = (f"{row[0]} {row[1]}" for row in rows if row[2] == "sent")
        return [
            _compared("mails sent, by the database", names, sent),
            _compared("mails in the customers' mailboxes", names, copies.elements()),
        ]

    async def _customers(self, done: Sequence[Shot]) -> Check:
        orders = {one.order for one in done if one.order}
        rows = await self._rows("customers", _ATTACHED, orders)
        return _compared("purchases that customers knows", orders, (row[0] for row in rows))

    async def _left_over(self) -> Check:
        waiting = {}
        for service in self._world.database_urls:
            async with self._world.database(service) as database:
                waiting[f"outbox of {service}"] = int(await database.fetchval(_OUTBOX))
        if admin := self._world.admin:
            for one in await asyncio.to_thread(admin.get, "queues", self._world.vhost):
                if not one["name"].startswith(("ext.", "replies.")):
                    waiting[one["name"]] = int(one.get("messages", 0))
        left = [f"{count} in {name}" for name, count in waiting.items() if count]
        return Check("messages left over in queues and outboxes", 0, sum(waiting.values()), tuple(left[:_EXAMPLES]))

    async def _errors(self) -> dict[str, int]:
        async with self._world.database("errorlog") as database:
            rows = await database.fetch(_ERRORS, self._world.client_id, self._began_at)
        return {row[0]: row[1] for row in rows}

    async def _rows(self, service: str, statement: str, keys: Collection[Any]) -> list[Any]:
        found: list[Any] = []
        wanted = sorted(str(key) for key in keys)
        async with self._world.database(service) as database:
            for start in range(0, len(wanted), _AT_ONCE):
                found += await database.fetch(statement, wanted[start : start + _AT_ONCE], self._world.client_id)
        return found


def _answers(shots: Sequence[Shot]) -> Check:
    reasons = Counter(one.code or "no_reply" for one in shots if not one.accepted)
    wrong = tuple(f"{count} × {code}" for code, count in reasons.most_common(_EXAMPLES))
    return Check("messages answered with a success", len(shots), sum(one.accepted for one in shots), wrong)


def _compared(name: str, wanted: Iterable[Any], found: Iterable[Any], wrong: Iterable[Any] = ()) -> Check:
    """Exactly these, each as often as wanted."""
    expected, there = Counter(list(wanted)), Counter(list(found))
    examples: dict[str, list[str]] = defaultdict(list)
    examples["missing"] = [str(one) for one in expected - there]
    examples["too many"] = [str(one) for one in there - expected]
    examples["wrong"] = [str(one) for one in wrong]
    words = tuple(f"{len(some)} {what}: {', '.join(some[:_EXAMPLES])}" for what, some in examples.items() if some)
    return Check(name, expected.total(), there.total(), words)
