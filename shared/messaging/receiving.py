"""What happens to a message between the broker and the use case, and what is told to whom afterwards."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from aio_pika.abc import AbstractIncomingMessage

from shared.errors import MissingPrerequisite, Refused
from shared.failpoints import failpoint
from shared.logs import logger
from shared.messaging.admission import Request, admit, correlation_of
from shared.messaging.breaker import Breaker
from shared.messaging.delivery import Delivery, read_delivery
from shared.messaging.failures import is_outage
from shared.messaging.handlers import Handlers
from shared.messaging.ladder import Cause, Ladder
from shared.messaging.lanes import Lanes
from shared.messaging.names import QueueKind
from shared.messaging.principals import PrincipalsFile
from shared.messaging.replies import Replies, Reply
from shared.messaging.transactions import Outcome, Transactions
from shared.metrics import Metrics
from shared.staff.checking import StaffCheck
from shared.tracing import Tracing, Travelling, current_traceparent

DEADLINE_SECONDS: Final = 60
"""A handler that takes longer is at fault; the broker's own limit is far away."""


@dataclass(frozen=True)
class Receiver:
    """Takes deliveries of one service. Every delivery ends acknowledged, or it stays with the broker."""

    handlers: Handlers
    principals: PrincipalsFile
    staff: StaffCheck
    transactions: Transactions
    ladder: Ladder
    replies: Replies
    database: Breaker
    metrics: Metrics
    tracing: Tracing
    wake: Callable[[Iterable[str]], None]
    """Told after every commit, with the jobs the use case wants woken."""
    lanes: Lanes = field(default_factory=Lanes)

    async def receive(self, raw: AbstractIncomingMessage, *, queue: str, kind: QueueKind) -> None:
        """Handle a delivery and acknowledge it."""
        delivery = read_delivery(raw, service=self.handlers.service, queue=queue, kind=kind)
        in_hand = self.metrics.messages_in_hand.labels(queue)
        with in_hand.track_inprogress():
            try:
                request = admit(delivery, self.handlers, self.principals.current)
            except Refused as refusal:
                await self._turn_away(delivery, refusal)
                await _acknowledge(raw)
                return
            reply = await self._handle(delivery, request)
            failpoint("before_ack")
            await _acknowledge(raw)
            failpoint("after_ack")
            if reply is not None:
                self._answer(delivery, reply)

    async def _handle(self, delivery: Delivery, request: Request) -> Reply | None:
        """Run the work and say how it went. Returns the reply that is to be sent after the acknowledgement."""
        name = request.route.name
        started = time.perf_counter()
        with (
            structlog.contextvars.bound_contextvars(
                handler=name,
                queue=delivery.queue,
                message_id=request.origin.message_id,
                correlation_id=request.origin.correlation_id,
            ),
            self.tracing.process(name, delivery.queue, _travelling(delivery, request)),
        ):
            outcome = await self._run(delivery, _inside_span(request))
            if outcome is None:
                return None
            self.metrics.message_duration_seconds.labels(name).observe(time.perf_counter() - started)
            self.metrics.messages_handled_total.labels(name, outcome.word).inc()
            self.metrics.message_last_success_timestamp_seconds.labels(name).set_to_current_time()
            logger().info(
                "message_handled",
                outcome=outcome.word,
                code=outcome.code,
                duration_ms=(time.perf_counter() - started) * 1000,
            )
            self.wake(outcome.woken)
            return outcome.reply

    async def _run(self, delivery: Delivery, request: Request) -> Outcome | None:
        """The outcome, or None where the message went another way. Waits as long as the database is away."""
        awaited = self._reply_to(delivery) is not None
        async with self.lanes.enter(request.record):
            while True:
                await self.database.wait()
                try:
                    async with asyncio.timeout(DEADLINE_SECONDS) as deadline:
                        if not await self._permitted(delivery, request):
                            return None
                        return await self.transactions.run(request, awaited=awaited)
                except Refused as refusal:
                    await self._refused(delivery, request, refusal)
                    return None
                except Exception as error:  # noqa: BLE001 - this is where every failure gets its place
                    if is_outage(error) and not deadline.expired():
                        self.database.trip(error)
                        continue
                    self.metrics.messages_handled_total.labels(request.route.name, "failed").inc()
                    await self._failed(delivery, Cause("failed", request.route.name, error))
                    return None

    async def _permitted(self, delivery: Delivery, request: Request) -> bool:
        """Whether the person in whose name it is sent may send it; who may not is turned away."""
        try:
            await self.staff.check(request.origin, key=delivery.key, kind=delivery.kind)
        except Refused as refusal:
            await self._turn_away(delivery, refusal)
            return False
        return True

    async def _failed(self, delivery: Delivery, cause: Cause) -> None:
        """Our own fault. A message is tried again later; a question is answered now or never."""
        if delivery.kind is not QueueKind.QUERIES:
            await self.ladder.defer(delivery, cause)
            return
        self._answer(delivery, Reply.of(Refused("internal_error", "The fault is ours, and it is logged.").problem()))
        await self.ladder.bury(delivery, cause)

    async def _refused(self, delivery: Delivery, request: Request, refusal: Refused) -> None:
        """A refusal that is not stored: it may be different next time, or it concerns another message's id."""
        if self._reply_to(delivery) is not None:
            self._answer(delivery, Reply.of(refusal.problem()))
        elif delivery.kind is QueueKind.QUERIES:
            return
        elif isinstance(refusal, MissingPrerequisite):
            await self.ladder.defer(delivery, Cause("missing_prerequisite", request.route.name, detail=refusal.code))
        else:
            await self.ladder.bury(delivery, Cause(refusal.code, request.route.name, detail=refusal.detail))

    async def _turn_away(self, delivery: Delivery, refusal: Refused) -> None:
        """A message that cannot be handled at all: told to the caller, or to the error log."""
        self.metrics.messages_handled_total.labels("admission", "refused").inc()
        logger().info("message_turned_away", queue=delivery.queue, code=refusal.code)
        if self._reply_to(delivery) is not None:
            self._answer(delivery, Reply.of(refusal.problem()))
        elif delivery.kind is not QueueKind.QUERIES:
            await self.ladder.bury(delivery, Cause(refusal.code, detail=refusal.detail))

    def _answer(self, delivery: Delivery, reply: Reply) -> None:
        to = self._reply_to(delivery)
        if to is not None:
            self.replies.send(reply, to=to, correlation_id=correlation_of(delivery), key=delivery.key)

    def _reply_to(self, delivery: Delivery) -> str | None:
        return delivery.reply_queue(isolated=self.principals.current.isolated)


def _travelling(delivery: Delivery, request: Request) -> Travelling:
    return Travelling(
        exchange=delivery.exchange,
        routing_key=delivery.key,
        traceparent=request.origin.traceparent,
        message_id=request.origin.message_id,
        correlation_id=request.origin.correlation_id,
    )


def _inside_span(request: Request) -> Request:
    """What the work sends continues the span of the work, not that of the message."""
    return replace(request, origin=replace(request.origin, traceparent=current_traceparent()))


async def _acknowledge(raw: AbstractIncomingMessage) -> None:
    """Acknowledge. Where the connection is gone meanwhile the broker delivers again, and the inbox knows."""
    try:
        await raw.ack()
    except Exception as error:  # noqa: BLE001 - aio-pika raises whatever broke the channel
        logger().info("acknowledge_failed", error=error)
