"""Consumers of the same commands that differ in one part of FastStream; each message is acknowledged, nothing more.

Run as `python -m benchmarks.faststream_consumers`, the address in LEDGER_AMQP_URL. Takes the names of CONSUMERS, one a
line with a count before it, and answers each with the microseconds that a message took, as JSON.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage
from faststream import AckPolicy, BaseMiddleware, Depends
from faststream.message import StreamMessage
from faststream.rabbit import (
    Channel,
    ExchangeType,
    QueueType,
    RabbitBroker,
    RabbitExchange,
    RabbitMessage,
    RabbitQueue,
    RabbitRouter,
)
from faststream.rabbit.opentelemetry import RabbitTelemetryMiddleware
from faststream.rabbit.prometheus import RabbitPrometheusMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import CollectorRegistry

from benchmarks.hop import BookDeposit
from shared.messaging import names
from shared.observability.metrics import Metrics
from shared.observability.traces import Tracing, Travelling

QUEUE: Final = "ledger.commands"
PREFETCH: Final = 100
HANDLERS: Final = 20
"""So many kinds of message share the queue where handlers are told apart; ours is in the middle."""
_UNHEARD: Final = "ledger.deposit.unheard.v1"
_WARM: Final = 200
"""So many messages are handled before the clocks start."""
_LONGEST_SECONDS: Final = 120
Receive = Callable[[AbstractIncomingMessage], Awaitable[None]]


@dataclass
class Taken:
    """Counts the messages, and what they took from the end of the warm-up on."""

    count: int
    seen: int = 0
    clocks: tuple[float, float] = (0.0, 0.0)
    found: dict[str, float] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, raw: AbstractIncomingMessage) -> None:
        """Acknowledge a message."""
        await raw.ack()
        self.add(1)

    def add(self, number: int) -> None:
        """So many more are done."""
        before, self.seen = self.seen, self.seen + number
        if before < _WARM <= self.seen:
            self.clocks = (time.process_time(), time.perf_counter())
        if self.seen == self.count:
            processor, clock = time.process_time() - self.clocks[0], time.perf_counter() - self.clocks[1]
            counted = (self.count - _WARM) / 1e6
            self.found = {"cpu_us": processor / counted, "us": clock / counted}
            self.done.set()


Close = Callable[[], Awaitable[None]]
Consume = Callable[[str, Taken], Awaitable[Close]]


async def bare(url: str, taken: Taken) -> Close:
    """aio-pika alone, with the connection that comes back by itself, which FastStream uses too."""
    connection = await aio_pika.connect_robust(url)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=PREFETCH)
    queue = await channel.declare_queue(QUEUE, passive=True)
    await queue.consume(taken.take)
    return connection.close


def _with(*middlewares: Any, router: bool = False, around: Callable[[Receive], Receive] | None = None) -> Consume:
    """A subscriber as shared/messaging/inbound/consumers.py has it, and something on top of it."""

    async def consume(url: str, taken: Taken) -> Close:
        broker = _broker(url, *middlewares)
        receive = around(taken.take) if around else taken.take
        if router:
            routed = RabbitRouter()
            routed.subscriber(_queue(), channel=_channel(), decoder=_undecoded, no_reply=True)(receive)
            broker.include_router(routed)
        else:
            broker.subscriber(_queue(), channel=_channel(), decoder=_undecoded, no_reply=True)(receive)
        await broker.start()
        return broker.stop

    return consume


async def injected(url: str, taken: Taken) -> Close:
    """FastStream decodes, validates and injects what the handler asks for by its annotations."""
    broker = _broker(url, apply_types=True)

    def counter() -> Taken:
        return taken

    @broker.subscriber(_queue(), channel=_channel(), no_reply=True)
    async def handle(
        _command: BookDeposit, message: RabbitMessage, counted: Annotated[Taken, Depends(counter, cast=False)]
    ) -> None:
        await counted.take(message.raw_message)

    await broker.start()
    return broker.stop


def _told_apart(*, in_threads: bool) -> Consume:
    """As many handlers as a service has messages, told apart by `filter=`."""

    def filter_for(key: str) -> Any:
        def matches(message: StreamMessage[AbstractIncomingMessage]) -> bool:
            return message.raw_message.routing_key == key

        async def matches_here(message: StreamMessage[AbstractIncomingMessage]) -> bool:
            return matches(message)

        return matches if in_threads else matches_here

    async def consume(url: str, taken: Taken) -> Close:
        broker = _broker(url)
        subscriber = broker.subscriber(_queue(), channel=_channel(), decoder=_undecoded, no_reply=True)
        for number in range(HANDLERS):
            key = BookDeposit.key if number == HANDLERS // 2 else f"ledger.deposit.other{number}.v1"
            subscriber(taken.take, filter=filter_for(key))
        await broker.start()
        return broker.stop

    return consume


async def publish_bare(url: str, taken: Taken) -> Close:
    """Not a consumer: as many publishes as a prefetch, their confirms awaited together, by aio-pika."""
    connection = await aio_pika.connect_robust(url)
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.get_exchange(names.EVENTS, ensure=False)

    async def publish() -> None:
        message = aio_pika.Message(
            b"{}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT, content_type="application/json"
        )
        await exchange.publish(message, _UNHEARD, mandatory=False)

    await _publish_all(publish, taken)
    return connection.close


async def publish_by_faststream(url: str, taken: Taken) -> Close:
    """The same by `broker.publish`."""
    broker = _broker(url)
    await broker.connect()
    exchange = RabbitExchange(names.EVENTS, type=ExchangeType.TOPIC, durable=True, declare=False)

    async def publish() -> None:
        await broker.publish(
            b"{}", exchange=exchange, routing_key=_UNHEARD, mandatory=False, persist=True,
            content_type="application/json",
        )  # fmt: skip

    await _publish_all(publish, taken)
    return broker.stop


async def _publish_all(publish: Callable[[], Awaitable[None]], taken: Taken) -> None:
    while taken.seen < taken.count:
        number = min(PREFETCH, taken.count - taken.seen)
        await asyncio.gather(*(publish() for _ in range(number)))
        taken.add(number)


def _validating(receive: Receive) -> Receive:
    async def validate(raw: AbstractIncomingMessage) -> None:
        BookDeposit.model_validate_json(raw.body)
        await receive(raw)

    return validate


def _watched(receive: Receive) -> Receive:
    """What shared/messaging/inbound/message_pipeline.py counts and traces of a message."""
    metrics, tracing = Metrics("ledger"), Tracing("ledger")

    async def watch(raw: AbstractIncomingMessage) -> None:
        started = time.perf_counter()
        travelling = Travelling(names.COMMANDS, BookDeposit.key, correlation_id=raw.correlation_id)
        with (
            metrics.messages_in_hand.labels(QUEUE).track_inprogress(),
            tracing.process("book_deposit", QUEUE, travelling),
        ):
            await receive(raw)
        metrics.message_duration_seconds.labels("book_deposit").observe(time.perf_counter() - started)
        metrics.messages_handled_total.labels("book_deposit", "done").inc()
        metrics.message_last_success_timestamp_seconds.labels("book_deposit").set_to_current_time()

    return watch


class _Nothing(BaseMiddleware):
    """Every hook of a middleware, and nothing done in it."""

    async def on_receive(self) -> None:
        await super().on_receive()

    async def consume_scope(self, call_next: Any, msg: StreamMessage[Any]) -> Any:
        return await call_next(msg)


def _queue() -> RabbitQueue:
    return RabbitQueue(QUEUE, queue_type=QueueType.QUORUM, durable=True, declare=False)


def _channel() -> Channel:
    return Channel(prefetch_count=PREFETCH)


def _broker(url: str, *middlewares: Any, apply_types: bool = False) -> RabbitBroker:
    return RabbitBroker(url, ack_policy=AckPolicy.MANUAL, apply_types=apply_types, middlewares=middlewares, logger=None)


async def _undecoded(message: StreamMessage[AbstractIncomingMessage]) -> AbstractIncomingMessage:
    return message.raw_message


BARE: Final = "aio-pika alone"
AS_USED: Final = "FastStream's subscriber, as used"
BY_HAND: Final = "as used, the body validated by hand"
PUBLISH_BARE: Final = "publishing, aio-pika"
CONSUMERS: Final[Mapping[str, Consume]] = {
    BARE: bare,
    AS_USED: _with(),
    "in a router": _with(router=True),
    "a middleware that does nothing": _with(_Nothing),
    "RabbitPrometheusMiddleware": _with(RabbitPrometheusMiddleware(registry=CollectorRegistry())),
    "RabbitTelemetryMiddleware, nothing recorded": _with(
        RabbitTelemetryMiddleware(tracer_provider=TracerProvider(sampler=ALWAYS_OFF))
    ),
    "our own figures and span, nothing recorded": _with(around=_watched),
    BY_HAND: _with(around=_validating),
    "apply_types and Depends": injected,
    f"{HANDLERS} handlers, async filters": _told_apart(in_threads=False),
    f"{HANDLERS} handlers, plain filters": _told_apart(in_threads=True),
    PUBLISH_BARE: publish_bare,
    "publishing, FastStream": publish_by_faststream,
}


async def measure(name: str, count: int) -> dict[str, float]:
    """Consume so many messages; microseconds of processor time and of the clock for each."""
    taken = Taken(count)
    close = await CONSUMERS[name](os.environ["LEDGER_AMQP_URL"], taken)
    async with asyncio.timeout(_LONGEST_SECONDS):
        await taken.done.wait()
    await close()
    return taken.found


def main() -> None:
    """Serve until there are no more lines. All consumers run in one process, so none has it warmer than another."""
    for line in sys.stdin:
        count, _, name = line.strip().partition(" ")
        gc.collect()
        print(json.dumps(uvloop.run(measure(name, int(count)))), flush=True)  # noqa: T201 - the benchmark reads it


if __name__ == "__main__":
    main()
