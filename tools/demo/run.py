"""The run from the file to the proof: purchases, refunds, mails."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from shared.contracts.purchases import GetPurchase, RecordPurchase, RequestRefund
from tools.client import Answer, NoReply, PatientClient
from tools.demo.databases import Databases
from tools.demo.journal import ACCEPTED, REFUSED, UNANSWERED, Journal
from tools.demo.mails import find_new_mails, read_mails
from tools.demo.orders import CLIENT, Orders, Wish
from tools.demo.proof import Proof, compare
from tools.demo.reading import Tally, count_invoices, read_invoices
from tools.screen import Screen

PEER: Final = "checkout"
WINDOW: Final = 64
"""Commands on their way at a time."""
_MAIL_POLL_SECONDS: Final = 1.0
_PROOF_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Place:
    """A running system, as the demo sees it."""

    amqp_url: str
    """Of the peer `checkout`."""
    database_urls: Mapping[str, str]
    maildir: Path


@dataclass
class Summary:
    """What came out."""

    invoices: int = 0
    tally: Tally = field(default_factory=Tally)
    purchases: int = 0
    refunds: int = 0
    mails: int = 0
    already_there: dict[str, int] = field(default_factory=dict)
    """How many of these purchases, refunds and mails an earlier run had made."""
    refusals: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    example: dict[str, Any] | None = None
    proof: Proof = field(default_factory=lambda: Proof((), (), 0))

    @property
    def holds(self) -> bool:
        return self.proof.holds


@dataclass(frozen=True)
class Patience:
    """How long to wait for what should come by itself."""

    mails: float = 120.0
    """Without any new mail."""
    proof: float = 30.0
    """Until the last outcome is written down everywhere."""


async def run_demo(
    place: Place, files: Sequence[Path], screen: Screen, *, limit: int | None = None, patience: Patience | None = None
) -> Summary:
    """Send what is in the files, wait for all that follows from it, and compare what every place has of it."""
    with contextlib.closing(Journal()) as journal:
        run = _Run(place, journal, screen, patience or Patience())
        return await run.through(files, limit)


class _Run:
    def __init__(self, place: Place, journal: Journal, screen: Screen, patience: Patience) -> None:
        self._place = place
        self._journal = journal
        self._screen = screen
        self._patience = patience
        self._databases = Databases(place.database_urls, CLIENT)
        self._summary = Summary()

    async def through(self, files: Sequence[Path], limit: int | None) -> Summary:
        summary = self._summary
        began = time.monotonic()
        since = await self._databases.now()
        async with PatientClient(self._place.amqp_url, client=CLIENT, actor=f"service:{PEER}", app="demo") as peer:
            async with self._reading_mails():
                await self._send_purchases(peer, files, limit)
                await self._send_refunds(peer)
                await self._await_mails()
            summary.seconds["to_last_mail"] = time.monotonic() - began
            await self._prove(since)
            summary.example = await self._example(peer)
            summary.repeats = peer.repeats
        summary.errors = await self._databases.errors(since)
        self._count()
        summary.seconds["total"] = time.monotonic() - began
        return summary

    async def _send_purchases(self, peer: PatientClient, files: Sequence[Path], limit: int | None) -> None:
        total = await asyncio.to_thread(count_invoices, files, limit)
        self._screen.step(f"Recording purchases: {RecordPurchase.key} from the peer {PEER}, with payment")
        began = time.monotonic()
        orders = Orders(self._journal, self._summary.tally)
        async with _Window() as window:
            for invoice in read_invoices(files, self._summary.tally, limit):
                self._summary.invoices += 1
                if wish := orders.take(invoice):
                    await window.start(self._send_purchase(peer, wish))
                self._screen.progress("invoices", self._summary.invoices, total)
                await asyncio.sleep(0)
        self._screen.progress("invoices", self._summary.invoices, self._summary.invoices)
        self._summary.seconds["purchases"] = time.monotonic() - began

    async def _send_purchase(self, peer: PatientClient, wish: Wish) -> None:
        answer = await _ask(peer, RecordPurchase.key, wish)
        state, code = _outcome(answer)
        reference_number = str(answer.body["reference_number"]) if answer and answer.accepted else None
        self._journal.note_purchase(wish.number, state, code, reference_number)

    async def _send_refunds(self, peer: PatientClient) -> None:
        total = self._journal.count("refund")
        self._screen.step(f"Requesting refunds: {RequestRefund.key}")
        began = time.monotonic()
        async with _Window() as window:
            for done, (refund_id, body) in enumerate(self._journal.refunds(), start=1):
                await window.start(self._send_refund(peer, Wish(refund_id, body)))
                self._screen.progress("refunds", done, total)
        self._summary.seconds["refunds"] = time.monotonic() - began

    async def _send_refund(self, peer: PatientClient, wish: Wish) -> None:
        answer = await _ask(peer, RequestRefund.key, wish)
        self._journal.note_refund(wish.number, *_outcome(answer))

    async def _await_mails(self) -> None:
        """Wait for a receipt of each purchase and a confirmation of each refund."""
        expected = self._journal.mails_expected()
        self._screen.step("Waiting for the mails: a receipt for each purchase, a confirmation for each refund")
        arrived, last_news = -1, time.monotonic()
        while True:
            now_arrived = min(self._journal.mails_arrived(), expected)
            self._screen.progress("mails", now_arrived, expected)
            if now_arrived > arrived:
                arrived, last_news = now_arrived, time.monotonic()
            if arrived >= expected or time.monotonic() - last_news > self._patience.mails:
                return
            await asyncio.sleep(_MAIL_POLL_SECONDS / 4)

    @contextlib.asynccontextmanager
    async def _reading_mails(self) -> AsyncIterator[None]:
        """Read what the mail catcher receives for as long as it goes on."""

        async def read() -> None:
            while True:
                await self._read_mails()
                await asyncio.sleep(_MAIL_POLL_SECONDS)

        reading = asyncio.create_task(read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if not reading.cancelled():
            reading.result()

    async def _read_mails(self) -> None:
        for files in find_new_mails(self._place.maildir, self._journal.has_mail):
            self._journal.add_mails(await asyncio.to_thread(read_mails, files))

    async def _prove(self, since: datetime) -> None:
        """Compare; what does not fit yet gets a moment to be written down everywhere."""
        self._screen.step("Comparing what was sent, what the databases hold and what the mail catcher received")
        end = time.monotonic() + self._patience.proof
        while True:
            await self._read_mails()
            self._journal.forget_stored()
            await self._databases.read_purchases(self._journal, since)
            await self._databases.read_emails(self._journal, since)
            self._summary.proof = compare(self._journal)
            if self._summary.holds or time.monotonic() > end:
                return
            await asyncio.sleep(_PROOF_POLL_SECONDS)

    async def _example(self, peer: PatientClient) -> dict[str, Any] | None:
        """One purchase with all that happened to it, asked for by message; one with a refund if there is any."""
        order_id = self._journal.example()
        if order_id is None:
            return None
        query = GetPurchase(client_order_id=order_id)
        try:
            answer = await peer.ask(GetPurchase.key, query.model_dump_json(exclude_none=True).encode(), uuid4())
        except NoReply:
            return None
        return answer.body if answer.accepted else None

    def _count(self) -> None:
        summary, journal = self._summary, self._journal
        summary.purchases = journal.count("purchase", ACCEPTED)
        summary.refunds = journal.count("refund", ACCEPTED)
        summary.mails = sum(row.mails or 0 for row in summary.proof.rows if not row.is_money)
        summary.refusals = journal.refusals()
        new = {
            "purchases": journal.figure("SELECT count(*) FROM stored_purchase WHERE is_new"),
            "refunds": journal.figure("SELECT count(*) FROM stored_refund JOIN refund USING (refund_id) WHERE is_new"),
            "mails": journal.figure("SELECT count(*) FROM stored_email WHERE is_new"),
        }
        counts = {"purchases": summary.purchases, "refunds": summary.refunds, "mails": summary.mails}
        summary.already_there = {name: max(0, count - new[name]) for name, count in counts.items()}


class _Window:
    """Work on its way at the same time, so much and no more. Leaving it waits for all of it."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(WINDOW)
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, trace)

    async def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin work as soon as there is a place for it."""
        await self._free.acquire()
        self._group.create_task(work).add_done_callback(lambda _: self._free.release())


async def _ask(peer: PatientClient, key: str, wish: Wish) -> Answer | None:
    try:
        return await peer.ask(key, wish.body, wish.message_id)
    except NoReply:
        return None


def _outcome(answer: Answer | None) -> tuple[str, str | None]:
    if answer is None:
        return UNANSWERED, "no_reply"
    return (ACCEPTED, None) if answer.accepted else (REFUSED, answer.code)
