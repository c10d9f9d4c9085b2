"""What happens to a message between the broker and the use case, and what is told to whom afterwards."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from aio_pika.abc import AbstractIncomingMessage

from shared.contracts.refusals import MissingPrerequisite, Refused
from shared.failpoints import failpoint
from shared.messaging.handlers import Handlers
from shared.messaging.inbound.acknowledgement import acknowledge
from shared.messaging.inbound.authorization import PrincipalsFile
from shared.messaging.inbound.incoming_message import IncomingMessage, read_incoming
from shared.messaging.inbound.keyed_lock import KeyedLock
from shared.messaging.inbound.validation import Request, correlation_of, validate_message
from shared.messaging.names import QueueKind
from shared.messaging.outbound.replies import Replies, Reply
from shared.messaging.recovery.circuit_breaker import CircuitBreaker
from shared.messaging.recovery.error_classification import is_outage
from shared.messaging.recovery.retry import Cause, Retry
from shared.messaging.transaction.transactions import Outcome, Transactions
from shared.observability.logs import logger
from shared.observability.metrics import Metrics
from shared.observability.traces import Tracing, Travelling, current_traceparent
from shared.staff.permission_check import StaffCheck

DEADLINE_SECONDS: Final = 60
"""A handler that takes longer is at fault; the broker's own limit is far away."""


@dataclass(frozen=True)
class MessagePipeline:
    """Takes deliveries of one service. Every delivery ends acknowledged, or it stays with the broker."""

    handlers: Handlers
    principals: PrincipalsFile
    staff: StaffCheck
    transactions: Transactions
    retry: Retry
    replies: Replies
    database: CircuitBreaker
    metrics: Metrics
    tracing: Tracing
    wake: Callable[[Iterable[str]], None]
    """Told after every commit, with the jobs the use case wants woken."""
    keyed_lock: KeyedLock = field(default_factory=KeyedLock)

    async def receive(self, raw: AbstractIncomingMessage, *, queue: str, kind: QueueKind) -> None:
        """Handle a delivery and acknowledge it."""
        incoming = read_incoming(raw, service=self.handlers.service, queue=queue, kind=kind)
        in_hand = self.metrics.messages_in_hand.labels(queue)
        with in_hand.track_inprogress():
            try:
                request = validate_message(incoming, self.handlers, self.principals.current)
            except Refused as refusal:
                await self._turn_away(incoming, refusal)
                await acknowledge(raw)
                return
            reply = await self._handle(incoming, request)
            failpoint("before_ack")
            await acknowledge(raw)
            failpoint("after_ack")
            if reply is not None:
                self._answer(incoming, reply)

    async def _handle(self, incoming: IncomingMessage, request: Request) -> Reply | None:
        """Run the work and say how it went. Returns the reply that is to be sent after the acknowledgement."""
        name = request.route.name
        started = time.perf_counter()
        with (
            structlog.contextvars.bound_contextvars(
                handler=name,
                queue=incoming.queue,
                message_id=request.context.message_id,
                correlation_id=request.context.correlation_id,
            ),
            self.tracing.process(name, incoming.queue, _travelling(incoming, request)),
        ):
            outcome = await self._run(incoming, _inside_span(request))
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

    async def _run(self, incoming: IncomingMessage, request: Request) -> Outcome | None:
        """The outcome, or None where the message went another way. Waits as long as the database is away."""
        awaited = self._reply_to(incoming) is not None
        async with self.keyed_lock.enter(request.lane):
            while True:
                await self.database.wait()
                try:
                    async with asyncio.timeout(DEADLINE_SECONDS) as deadline:
                        if not await self._permitted(incoming, request):
                            return None
                        return await self.transactions.run(request, awaited=awaited)
                except Refused as refusal:
                    await self._refused(incoming, request, refusal)
                    return None
                except Exception as error:  # noqa: BLE001 - this is where every failure gets its place
                    if is_outage(error) and not deadline.expired():
                        self.database.trip(error)
                        continue
                    self.metrics.messages_handled_total.labels(request.route.name, "failed").inc()
                    await self._failed(incoming, Cause("failed", request.route.name, error))
                    return None

    async def _permitted(self, incoming: IncomingMessage, request: Request) -> bool:
        """Whether the person in whose name it is sent may send it; who may not is turned away."""
        try:
            await self.staff.check(request.context, key=incoming.key, kind=incoming.kind)
        except Refused as refusal:
            await self._turn_away(incoming, refusal)
            return False
        return True

    async def _failed(self, incoming: IncomingMessage, cause: Cause) -> None:
        """Our own fault. A message is tried again later; a question is answered now or never."""
        if incoming.kind is not QueueKind.QUERIES:
            await self.retry.schedule_retry(incoming, cause)
            return
        self._answer(incoming, Reply.of(Refused("internal_error", "The fault is ours, and it is logged.").problem()))
        await self.retry.dead_letter(incoming, cause)

    async def _refused(self, incoming: IncomingMessage, request: Request, refusal: Refused) -> None:
        """A refusal that is not stored: it may be different next time, or it concerns another message's id."""
        if self._reply_to(incoming) is not None:
            self._answer(incoming, Reply.of(refusal.problem()))
        elif incoming.kind is QueueKind.QUERIES:
            return
        elif isinstance(refusal, MissingPrerequisite):
            await self.retry.schedule_retry(
                incoming, Cause("missing_prerequisite", request.route.name, detail=refusal.code)
            )
        else:
            await self.retry.dead_letter(incoming, Cause(refusal.code, request.route.name, detail=refusal.detail))

    async def _turn_away(self, incoming: IncomingMessage, refusal: Refused) -> None:
        """A message that cannot be handled at all: told to the caller, or to the error log."""
        self.metrics.messages_handled_total.labels("admission", "refused").inc()
        logger().info("message_turned_away", queue=incoming.queue, code=refusal.code)
        if self._reply_to(incoming) is not None:
            self._answer(incoming, Reply.of(refusal.problem()))
        elif incoming.kind is not QueueKind.QUERIES:
            await self.retry.dead_letter(incoming, Cause(refusal.code, detail=refusal.detail))

    def _answer(self, incoming: IncomingMessage, reply: Reply) -> None:
        to = self._reply_to(incoming)
        if to is not None:
            self.replies.send(reply, to=to, correlation_id=correlation_of(incoming), key=incoming.key)

    def _reply_to(self, incoming: IncomingMessage) -> str | None:
        return incoming.reply_queue(isolated=self.principals.current.isolated)


def _travelling(incoming: IncomingMessage, request: Request) -> Travelling:
    return Travelling(
        exchange=incoming.exchange,
        routing_key=incoming.key,
        traceparent=request.context.traceparent,
        message_id=request.context.message_id,
        correlation_id=request.context.correlation_id,
    )


def _inside_span(request: Request) -> Request:
    """What the work sends continues the span of the work, not that of the message."""
    return replace(request, context=replace(request.context, traceparent=current_traceparent()))
