"""Callers that behave as they should: no answer in time means the same message, with the same id, again."""

import asyncio
import contextlib
import itertools
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from aio_pika.exceptions import AMQPError

from shared.contracts.message import Message
from tests.support.make import order_number, purchase, refund
from tests.support.peer import Answer, Peer
from tests.support.system import System
from tests.support.wait import wait_until


@dataclass
class Traffic:
    """Purchases and refunds at a steady pace, until told to stop; knows what the system has accepted."""

    url: str
    pace: float = 0.3
    """Seconds between two orders."""
    accepted: list[str] = field(default_factory=list)
    """Order numbers whose purchase and refund were both answered with a success."""
    refused: Counter[str] = field(default_factory=Counter)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _connected: asyncio.Lock = field(default_factory=asyncio.Lock)
    _peer: Peer | None = None

    async def run(self) -> None:
        """Start an order at every pace; returns when every started order has its answers."""
        async with asyncio.TaskGroup() as orders:
            for _ in itertools.count():
                orders.create_task(self._order())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self.pace)
                    break
        if self._peer is not None:
            await self._peer.close()

    def stop(self) -> None:
        """Start no more orders."""
        self._stop.set()

    async def _order(self) -> None:
        order = order_number()
        for message in (purchase(order), refund(order)):
            answer = await self._until_answered(message, uuid4())
            if answer.code is not None:
                self.refused[answer.code] += 1
                return
        self.accepted.append(order)

    async def _until_answered(self, message: Message, identity: UUID) -> Answer:
        while True:
            try:
                connected = await self._connection()
                return await connected.ask(message, message_id=identity, timeout=3)
            except (AMQPError, OSError, TimeoutError, RuntimeError):
                await asyncio.sleep(0.3)
            except asyncio.CancelledError:
                # aiormq cancels a waiter itself when the connection breaks.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                await asyncio.sleep(0.3)

    async def _connection(self) -> Peer:
        async with self._connected:
            if self._peer is None or not self._peer.connection.connected.is_set():
                self._peer = await asyncio.wait_for(Peer(self.url, actor="service:checkout").open(), 5)
            return self._peer


@dataclass(frozen=True)
class Backlog:
    """What is not done yet, and what must agree when everything is."""

    unfinished_refunds: int = -1
    outbox_of_purchases: int = -1
    outbox_of_notifications: int = -1
    mails_sent: int = -1
    mails_noted: int = -1

    def is_drained(self, orders: int) -> bool:
        """Nothing waits, and purchases has heard of every mail."""
        waiting = (self.unfinished_refunds, self.outbox_of_purchases, self.outbox_of_notifications)
        return not any(waiting) and self.mails_sent == self.mails_noted >= 2 * orders


async def _backlog(system: System) -> Backlog:
    async with system.database("purchases") as database:
        unfinished = await database.fetchval("SELECT count(*) FROM refund WHERE state <> 'completed'")
        noted = await database.fetchval("SELECT count(*) FROM history_entry WHERE subject = 'email.sent'")
        outbox = await database.fetchval("SELECT count(*) FROM outbox")
    async with system.database("notifications") as database:
        sent = await database.fetchval("SELECT count(*) FROM email WHERE state = 'sent'")
        unsent = await database.fetchval("SELECT count(*) FROM outbox")
    return Backlog(unfinished, outbox, unsent, sent, noted)


async def prove_nothing_lost_or_doubled(system: System, orders: list[str], *, timeout: float = 120) -> None:
    """Wait until the backlog has drained by itself; then compare orders, databases and mails."""

    last = Backlog()

    async def drained() -> bool:
        nonlocal last
        last = await _backlog(system)
        return last.is_drained(len(orders))

    try:
        await wait_until(drained, timeout, every=0.5, what="the backlog drains")
    except AssertionError as error:
        queues = await asyncio.to_thread(system.queue_depths)
        raise AssertionError(f"{error}: {len(orders)} orders, {last}, {queues}") from error
    async with system.database("purchases") as database:
        rows = await database.fetch("SELECT client_order_id, gross, refunded FROM purchase")
        refunds = await database.fetchval("SELECT count(*) FROM refund")
        payouts = await database.fetchval("SELECT count(*) FROM manual_payout")
    async with system.database("notifications") as database:
        unknown = await database.fetchval("SELECT count(*) FROM email_attempt WHERE outcome = 'unknown'")
    async with system.database("errorlog") as database:
        errors = await database.fetch("SELECT error_type, title FROM error_entry")
    recorded = [row["client_order_id"] for row in rows]
    assert set(orders) <= set(recorded), "lost"
    assert len(recorded) == len(set(recorded)) == refunds == payouts, "doubled"
    assert all(row["refunded"] == row["gross"] for row in rows)
    assert not errors, errors
    ids = Counter(mail["Message-ID"] for mail in system.mails.all())
    assert len(ids) == 2 * len(recorded)
    assert sum(ids.values()) - len(ids) <= unknown
