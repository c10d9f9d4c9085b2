"""Handing messages to the broker so that we know whether it has them."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError

from shared.messaging.recovery.error_classification import BrokerLost, broker_may_break
from shared.observability.metrics import Metrics

HEARTBEAT_SECONDS: Final = 10


class PublishFailed(Exception):
    """The broker has no queue for the message."""


class PublishUnknown(Exception):
    """No answer came, or a queue is full. The broker may have the message: it must be sent again with the same id."""


@dataclass(frozen=True, eq=False)
class _Link:
    """A connection and its one channel. When either breaks, both are replaced."""

    connection: AbstractConnection
    channel: AbstractChannel
    exchanges: dict[str, AbstractExchange] = field(default_factory=dict)

    @property
    def stands(self) -> bool:
        # `is_closed` stays false when the other side breaks the connection; `connected` tells the truth.
        return self.connection.connected.is_set() and not self.channel.is_closed

    async def exchange(self, name: str) -> AbstractExchange:
        found = self.exchanges.get(name)
        if found is None:
            found = self.exchanges[name] = await self.channel.get_exchange(name, ensure=False)
        return found


class Publisher:
    """A connection for publishing alone, so that an alarm which blocks publishers does not stop consumers.

    Connects when first needed and again after it was lost. Every publish is confirmed and has a time limit.
    """

    def __init__(self, url: str, *, name: str, timeout: float, metrics: Metrics) -> None:
        self._url = url
        self._name = name
        self._timeout = timeout
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()
        self._metrics = metrics
        self._connected = metrics.amqp_connected.labels(name)
        self._connected.set(0)

    @property
    def is_connected(self) -> bool:
        return self._link is not None and self._link.stands

    async def publish(self, message: aio_pika.Message, *, exchange: str, key: str, mandatory: bool = True) -> None:
        """Publish and wait for the confirm. Raises PublishFailed or PublishUnknown."""
        link: _Link | None = None
        try:
            with broker_may_break():
                link = self._link if self.is_connected else await asyncio.wait_for(self._open(), self._timeout)
                assert link is not None
                target = await link.exchange(exchange)
                returned = await target.publish(message, key, mandatory=mandatory, timeout=self._timeout)
        except PublishError as error:
            self._metrics.amqp_unroutable_total.inc()
            raise PublishFailed(type(error).__name__) from error
        except DeliveryError as error:
            # Some queue of several is full, or has no leader just now: it will take the message later.
            self._metrics.amqp_publish_unknown_total.inc()
            raise PublishUnknown("not taken now") from error
        except BrokerLost as error:
            self._metrics.amqp_publish_unknown_total.inc()
            self._drop(link)
            raise PublishUnknown(str(error)) from error
        if returned is None:
            raise PublishUnknown("no confirm")

    async def close(self) -> None:
        """Close the connection."""
        link, self._link = self._link, None
        self._connected.set(0)
        if link is not None and not link.connection.is_closed:
            await link.connection.close()

    async def _open(self) -> _Link:
        async with self._connecting:
            if self._link is not None and self._link.stands:
                return self._link
            self._drop(self._link)
            connection = await aio_pika.connect(
                self._url,
                timeout=self._timeout,
                heartbeat=HEARTBEAT_SECONDS,
                client_properties={"connection_name": self._name},
            )
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            self._link = _Link(connection, channel)
            self._connected.set(1)
            return self._link

    def _drop(self, link: _Link | None) -> None:
        """Leave a link that gave no answer. What failed late on an old link leaves the new one alone."""
        if link is None or link is not self._link:
            return
        self._link = None
        self._connected.set(0)
        if not link.connection.is_closed:
            closing = asyncio.ensure_future(link.connection.close(ConnectionError()))
            closing.add_done_callback(lambda done: done.cancelled() or done.exception())
