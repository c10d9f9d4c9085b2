"""From the outbox to the broker: one active relay per service, in the order written."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from datetime import UTC, datetime
from typing import Any, Final

import aio_pika
from aio_pika import DeliveryMode
from sqlalchemy import Row, Table, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.contracts.errorlog import ErrorRaised
from shared.failpoints import failpoint
from shared.ids import new_id
from shared.messaging import names
from shared.messaging.outbound.publisher import Publisher, PublishUnknown
from shared.messaging.recovery.circuit_breaker import CircuitBreaker
from shared.messaging.recovery.error_classification import is_outage
from shared.messaging.unit_of_work import cloud_event
from shared.observability.logs import error_type, logger
from shared.observability.metrics import Metrics

BATCH: Final = 500
POLL_SECONDS: Final = 1.0
GIVE_UP_AFTER: Final = 10
_LONGEST_PAUSE: Final = 5.0
OutboxRow = Row[Any]


class Relay:
    """Sends what was committed. It deletes a row only after the broker confirmed it; a row that was sent but not
    deleted goes out again under the same id, and the receiver's inbox takes care of it."""

    def __init__(
        self,
        *,
        service: str,
        user: str,
        engine: AsyncEngine,
        outbox: Table,
        publisher: Publisher,
        database: CircuitBreaker,
        metrics: Metrics,
    ) -> None:
        self._service = service
        self._user = user
        self._engine = engine
        self._outbox = outbox
        self._oldest = select(outbox).where(outbox.c.set_aside_at.is_(None)).order_by(outbox.c.id).limit(BATCH)
        self._publisher = publisher
        self._database = database
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._draining = False
        self._counted = 0.0
        self._in_trouble: set[str] = set()
        """Records of which a message did not go out the last time."""

    def wake(self) -> None:
        """Something was committed."""
        self._woken.set()

    async def run(self) -> None:
        """Be the relay, or stand by for it, until told to drain."""
        while not self._draining:
            await self._database.wait()
            try:
                async with self._engine.connect() as connection:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                    try:
                        await self._serve(connection)
                    except BaseException:
                        # The lock belongs to the session. Back in the pool it would shut out every relay, ours too.
                        await connection.invalidate()
                        raise
            except Exception as error:  # noqa: BLE001 - the relay outlives every failure; see below
                self._metrics.outbox_relay_active.set(0)
                if is_outage(error):
                    self._database.trip(error)
                else:
                    logger().error("relay_failed", error=error)
                    await asyncio.sleep(POLL_SECONDS)

    def drain(self) -> None:
        """Send what is there and end."""
        self._draining = True
        self._woken.set()

    async def _serve(self, connection: AsyncConnection) -> None:
        """As long as this connection holds the lock, nobody else relays for this service."""
        lock = text("SELECT pg_try_advisory_lock(hashtextextended('aftersale-relay', 0))")
        while not self._draining:
            if await connection.scalar(lock):
                break
            await self._pause(POLL_SECONDS)
        else:
            return
        self._metrics.outbox_relay_active.set(1)
        unanswered = 0
        while True:
            self._woken.clear()
            sent, failed = await self._send_batch(connection)
            await self._note_backlog(connection)
            if self._draining and (failed or sent < BATCH):
                break
            if failed:
                # A row that the broker refuses holds nobody up; a broker that does not answer is left in peace.
                unanswered = 0 if sent else unanswered + 1
                await asyncio.sleep(min(POLL_SECONDS * max(unanswered, 1), _LONGEST_PAUSE))
            elif sent < BATCH:
                unanswered = 0
                await self._pause(POLL_SECONDS)
        await connection.execute(text("SELECT pg_advisory_unlock_all()"))
        self._metrics.outbox_relay_active.set(0)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    async def _send_batch(self, connection: AsyncConnection) -> tuple[int, int]:
        """Send the oldest rows; returns how many went out and how many did not.

        All are handed to the channel in their order, and their confirms awaited together. An order key in trouble goes
        step by step: what comes later waits until what comes before is out.
        """
        rows = (await connection.execute(self._oldest)).all()
        sent: list[OutboxRow] = []
        failed: dict[int, Exception] = {}
        stuck: set[str] = set()
        careful = self._in_trouble | {row.order_key for row in rows if row.failures}
        for turn in in_turns(rows, careful - {None}):
            tried = [row for row in turn if row.order_key not in stuck]
            results = await asyncio.gather(*(self._send(row) for row in tried))
            for row, error in zip(tried, results, strict=True):
                if error is None:
                    sent.append(row)
                else:
                    failed[row.id] = error
                    stuck |= {row.order_key} - {None}
        self._in_trouble = stuck
        if sent:
            failpoint("after_publish")
            await connection.execute(delete(self._outbox).where(self._outbox.c.id.in_([row.id for row in sent])))
        for row in rows:
            if row.id in failed:
                await self._note_failure(connection, row, failed[row.id])
        return len(sent), len(failed)

    async def _send(self, row: OutboxRow) -> Exception | None:
        try:
            await self._publisher.publish(
                self._message(row),
                exchange=row.exchange,
                key=row.routing_key,
                mandatory=row.exchange == names.COMMANDS,
            )
        except PublishUnknown as error:
            self._metrics.outbox_published_total.labels("unknown").inc()
            return error
        except Exception as error:  # noqa: BLE001 - a row that cannot be sent must not hold up the others
            self._metrics.outbox_published_total.labels("failed").inc()
            return error
        self._metrics.outbox_published_total.labels("confirmed").inc()
        return None

    def _message(self, row: OutboxRow) -> aio_pika.Message:
        return aio_pika.Message(
            row.body,
            headers=row.headers,
            message_id=str(row.message_id),
            correlation_id=row.correlation_id,
            type=row.routing_key,
            content_type="application/json",
            timestamp=row.created_at,
            app_id=self._service,
            user_id=self._user or None,
            delivery_mode=DeliveryMode.PERSISTENT,
        )

    async def _note_failure(self, connection: AsyncConnection, row: OutboxRow, error: Exception) -> None:
        """A missing answer or a full queue is the broker's trouble and not counted; a row that cannot be sent is."""
        if isinstance(error, PublishUnknown):
            return
        failures = row.failures + 1
        values: dict[str, Any] = {"failures": failures, "last_failure": error_type(error.__cause__ or error)}
        if failures >= GIVE_UP_AFTER:
            values["set_aside_at"] = func.now()
            await connection.execute(self._outbox.insert().values(self._error_row(row)))
            logger().error("outbox_row_set_aside", routing_key=row.routing_key, failures=failures)
        await connection.execute(update(self._outbox).where(self._outbox.c.id == row.id).values(values))

    def _error_row(self, row: OutboxRow) -> dict[str, Any]:
        """The error entry of a row that the broker does not take."""
        key = f"{self._service}.error.raised.v1"
        message_id = new_id()
        event = ErrorRaised(
            error_type="message_not_routable",
            title=f"{row.routing_key} could not be sent",
            note=f"The broker refused it {GIVE_UP_AFTER} times; the row is set aside in the outbox.",
            fingerprint=f"outbox/{row.routing_key}",
            facts={"outbox_id": row.id, "message_id": str(row.message_id)},
        )
        headers = {name: row.headers[name] for name in ("client-id", "actor") if name in row.headers}
        return {
            "message_id": message_id,
            "exchange": names.EVENTS,
            "routing_key": key,
            "correlation_id": row.correlation_id,
            "headers": headers | cloud_event(self._service, key, message_id, None),
            "body": event.model_dump_json(exclude_none=True).encode(),
        }

    async def _note_backlog(self, connection: AsyncConnection) -> None:
        """The figures of the outbox, once a second."""
        if time.monotonic() - self._counted < POLL_SECONDS:
            return
        self._counted = time.monotonic()
        set_aside = self._outbox.c.set_aside_at
        waiting, oldest, given_up = (
            await connection.execute(
                select(
                    func.count().filter(set_aside.is_(None)),
                    func.min(self._outbox.c.created_at).filter(set_aside.is_(None)),
                    func.count().filter(set_aside.is_not(None)),
                )
            )
        ).one()
        age = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0
        self._metrics.outbox_pending.set(waiting)
        self._metrics.outbox_oldest_pending_age_seconds.set(max(0, age))
        self._metrics.outbox_set_aside.set(given_up)


def in_turns(rows: Sequence[OutboxRow], careful: Set[str]) -> Iterable[list[OutboxRow]]:
    """Rows that may go out side by side, in their order. Those of a careful order key are in different turns."""
    turns: dict[int, list[OutboxRow]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    for row in rows:
        turn = 0
        if row.order_key in careful:
            turn = seen[row.order_key]
            seen[row.order_key] += 1
        turns[turn].append(row)
    return [turns[turn] for turn in sorted(turns)]
