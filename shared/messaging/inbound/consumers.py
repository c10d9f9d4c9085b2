"""The consuming connection: FastStream reads our queues, and a watch sees to it that it really does."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiormq
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue, AbstractRobustConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from faststream import AckPolicy
from faststream.message import StreamMessage
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from faststream.rabbit.subscriber import RabbitSubscriber
from yarl import URL

from shared.messaging import names
from shared.messaging.inbound.dead_letter_pipeline import DeadLetterPipeline
from shared.messaging.inbound.last_resort import LastResort
from shared.messaging.inbound.lenient_decoding import read_leniently
from shared.messaging.inbound.message_pipeline import MessagePipeline
from shared.messaging.names import QueueKind, queue_name
from shared.messaging.outbound.publisher import HEARTBEAT_SECONDS
from shared.messaging.recovery.error_classification import BrokerLost, broker_may_break
from shared.observability.logs import logger
from shared.observability.metrics import Metrics

RECONNECT_SECONDS: Final = 0.5
WATCH_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 2.0
WITHOUT_CONSUMERS_SECONDS: Final = 60.0
"""Longer than this, the client library will not mend it any more."""
DEAD_LETTER_PREFETCH: Final = 10
Receive = Callable[[AbstractIncomingMessage], Awaitable[None]]


class QueueMissing(Exception):
    """A queue of this service does not exist. Provisioning makes it; a service declares nothing."""


class ConsumersLost(Exception):
    """The connection stands, our consumers are gone and do not come back. A new process begins with new ones."""


@dataclass
class Consumption:
    """One queue that is read, and what the watch last saw of it."""

    queue: str
    subscriber: RabbitSubscriber
    consumed: AbstractQueue | None = None
    """The queue on the channel that is this consumer's alone; the connection brings both back."""
    waiting: int | None = None
    consuming: bool = False


class Consumers:
    """Connects when the broker is there, consumes, and notices when consuming has silently ended."""

    def __init__(
        self,
        url: str,
        *,
        receiver: MessagePipeline,
        kinds: Sequence[QueueKind],
        dead_letters: DeadLetterPipeline | None,
        prefetch: int,
        metrics: Metrics,
    ) -> None:
        read_leniently()
        self._receiver = receiver
        self._last_resort = LastResort(receiver.retry, receiver.handlers.service)
        self._connected = metrics.amqp_connected.labels(f"{receiver.handlers.service} consumers")
        self._connected.set(0)
        self._depth = metrics.queue_messages
        self._connection: AbstractRobustConnection | None = None
        self._stopping = False
        self._in_hand: set[asyncio.Task[Any]] = set()
        self.lost_since: float | None = time.monotonic()
        """When our consumers were last seen to be missing, while the broker was connected."""
        self._broker = RabbitBroker(
            str(URL(url).update_query(heartbeat=HEARTBEAT_SECONDS, name=f"{receiver.handlers.service} consumers")),
            reconnect_interval=RECONNECT_SECONDS,
            ack_policy=AckPolicy.MANUAL,
            graceful_timeout=0.1,
            apply_types=False,
            logger=None,
        )
        self.consumptions = [
            self._subscribe(queue_name(receiver.handlers.service, kind), prefetch, self._receive(kind), kind)
            for kind in kinds
        ]
        if dead_letters is not None:
            self.consumptions.append(
                self._subscribe(names.DEAD_LETTERS, DEAD_LETTER_PREFETCH, dead_letters.receive, QueueKind.EVENTS)
            )

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands at this moment."""
        connection = self._connection
        return connection is not None and not connection.is_closed and connection.connected.is_set()

    @property
    def is_consuming(self) -> bool:
        """Whether every queue had our consumer when the watch last looked."""
        return self.is_connected and all(consumption.consuming for consumption in self.consumptions)

    async def run(self) -> None:
        """Consume until stopped. Raises QueueMissing or ConsumersLost, so that the process ends and begins anew."""
        await self._start()
        while not self._stopping:
            await self._look()
            if self.lost_since is not None and time.monotonic() - self.lost_since > WITHOUT_CONSUMERS_SECONDS:
                raise ConsumersLost
            await asyncio.sleep(WATCH_SECONDS if self.is_consuming else RECONNECT_SECONDS)

    async def stop(self, seconds: float) -> bool:
        """Take nothing new and wait for what is in hand. False if that took too long; the rest is delivered again."""
        self._stopping = True
        if self._connection is None:
            return True
        await asyncio.gather(
            *(consumption.subscriber.stop() for consumption in self.consumptions), return_exceptions=True
        )
        pending = self._in_hand - {asyncio.current_task()}
        if pending:
            _, pending = await asyncio.wait(pending, timeout=seconds)
        for task in pending:
            task.cancel()
        await asyncio.gather(self._broker.stop(), return_exceptions=True)
        return not pending

    def _subscribe(self, queue: str, prefetch: int, receive: Receive, kind: QueueKind) -> Consumption:
        async def consume(raw: AbstractIncomingMessage) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._in_hand.add(task)
            try:
                await receive(raw)
            except Exception as error:  # noqa: BLE001 - FastStream would swallow it, and nobody would ever know
                await self._last_resort.take(raw, error, queue=queue, kind=kind)
            finally:
                self._in_hand.discard(task)

        subscriber = self._broker.subscriber(
            RabbitQueue(
                queue,
                queue_type=QueueType.CLASSIC if kind is QueueKind.QUERIES else QueueType.QUORUM,
                durable=True,
                declare=False,
            ),
            channel=Channel(prefetch_count=prefetch),
            decoder=_undecoded,
            no_reply=True,
        )
        subscriber(consume)
        return Consumption(queue, subscriber)

    def _receive(self, kind: QueueKind) -> Receive:
        queue = queue_name(self._receiver.handlers.service, kind)

        async def receive(raw: AbstractIncomingMessage) -> None:
            await self._receiver.receive(raw, queue=queue, kind=kind)

        return receive

    async def _start(self) -> None:
        """Connect, as often as it takes."""
        told = False
        while True:
            try:
                with broker_may_break():
                    self._connection = await self._broker.connect()
                    await self._broker.start()
                    for consumption in self.consumptions:
                        # FastStream has declared it for its subscriber and hands out that one.
                        consumption.consumed = await self._broker.declare_queue(consumption.subscriber.queue)
            except BrokerLost as error:
                if isinstance(error.__cause__, ChannelNotFoundEntity):
                    raise QueueMissing(str(error.__cause__)) from error
                if not told:
                    logger().warning("dependency_lost", dependency="broker", error=error)
                    told = True
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return

    async def _look(self) -> None:
        """Are we connected, do our consumers exist, how much waits?"""
        before = self.is_consuming
        for consumption in self.consumptions:
            answered = await self._measure(consumption)
            consumption.consuming = answered and await _has_consumer(consumption)
        self._connected.set(self.is_connected)
        if self.is_consuming or not self.is_connected:
            self.lost_since = None
        elif self.lost_since is None:
            self.lost_since = time.monotonic()
        if before != self.is_consuming:
            logger().info("consuming" if self.is_consuming else "not_consuming", dependency="broker")

    async def _measure(self, consumption: Consumption) -> bool:
        """How many messages wait; False if the broker does not answer. A queue that is gone for good ends the process.

        A link that has gone silent is noticed here long before the heartbeat gives it up.
        """
        if not self.is_connected or self._connection is None:
            return False
        try:
            with broker_may_break():
                waiting = await asyncio.wait_for(_count(self._connection, consumption.queue), _ANSWER_SECONDS)
        except BrokerLost as error:
            if isinstance(error.__cause__, ChannelNotFoundEntity):
                raise QueueMissing(f"{consumption.queue} does not exist") from error
            return False
        consumption.waiting = waiting
        self._depth.labels(consumption.queue).set(waiting)
        return True


async def _count(connection: AbstractRobustConnection, queue: str) -> int:
    """Messages that wait in a queue. Asked on a plain channel, which the robust connection does not bring back.

    The channel is not closed if nobody answers: that would wait for an answer too.
    """
    transport = connection.transport
    if transport is None:
        raise ConnectionError("no transport")
    channel = await transport.connection.channel(publisher_confirms=False)
    found = await channel.queue_declare(queue, passive=True)
    await channel.close()
    return found.message_count or 0


async def _has_consumer(consumption: Consumption) -> bool:
    """Whether our consumer is still there. One that the broker cancelled is no longer in the channel's register."""
    if consumption.consumed is None:
        return False
    try:
        with broker_may_break():
            channel = await asyncio.wait_for(consumption.consumed.channel.get_underlay_channel(), _ANSWER_SECONDS)
    except BrokerLost:
        return False
    return isinstance(channel, aiormq.Channel) and not channel.is_closed and bool(channel.consumers)


async def _undecoded(message: StreamMessage[AbstractIncomingMessage]) -> AbstractIncomingMessage:
    """Our receiver judges the raw message itself: a body that cannot be decoded must get an answer too."""
    return message.raw_message
