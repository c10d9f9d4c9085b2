"""Answers to callers. They leave on a connection of their own, and no acknowledgement waits for them."""

import asyncio
from dataclasses import dataclass
from typing import Final

import aio_pika
from aio_pika import DeliveryMode

from shared.contracts.message import Data
from shared.contracts.values import Problem
from shared.ids import new_id
from shared.messaging import names
from shared.messaging.outbound.publisher import Publisher, PublishFailed, PublishUnknown
from shared.observability.logs import logger
from shared.observability.metrics import Metrics

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
MAX_REPLY: Final = 1_000_000
_WAITING: Final = 10_000


@dataclass(frozen=True)
class Reply:
    """A reply as it is stored and sent."""

    content_type: str
    body: bytes

    @classmethod
    def of(cls, result: Data) -> "Reply":
        """A result, or a problem, as a reply; one that is too long becomes the problem `too_large`."""
        body = result.model_dump_json(exclude_none=True).encode()
        if len(body) <= MAX_REPLY:
            return cls(PROBLEM if isinstance(result, Problem) else JSON, body)
        return cls.of(
            Problem(
                type="urn:aftersale:problem:too_large",
                title="Too large",
                detail="The answer is too long for one message; ask for less.",
                code="too_large",
                facts={"size": len(body), "limit": MAX_REPLY},
            )
        )


@dataclass(frozen=True)
class _Addressed:
    to: str
    message: aio_pika.Message


class Replies:
    """Sends replies in the background. A reply that cannot be sent is given up: the caller asks again with the
    same id and gets the stored one."""

    def __init__(self, publisher: Publisher, *, service: str, user: str, metrics: Metrics) -> None:
        self._publisher = publisher
        self._total = metrics.replies_total
        self._service = service
        self._user = user
        self._waiting: asyncio.Queue[_Addressed] = asyncio.Queue(maxsize=_WAITING)

    def send(self, reply: Reply, *, to: str, correlation_id: str, key: str) -> None:
        """Queue a reply. Never waits."""
        message = aio_pika.Message(
            reply.body,
            content_type=reply.content_type,
            correlation_id=correlation_id,
            message_id=str(new_id()),
            type=key,
            app_id=self._service,
            user_id=self._user or None,
            delivery_mode=DeliveryMode.NOT_PERSISTENT,
        )
        try:
            self._waiting.put_nowait(_Addressed(to, message))
        except asyncio.QueueFull:
            self._total.labels("dropped").inc()

    async def run(self) -> None:
        """Send what is queued, several at a time, for as long as the process lives."""
        async with asyncio.TaskGroup() as senders:
            for _ in range(8):
                senders.create_task(self._send_waiting())

    async def drain(self, timeout: float) -> None:
        """Wait until every queued reply was tried."""
        try:
            await asyncio.wait_for(self._waiting.join(), timeout)
        except TimeoutError:
            self._total.labels("dropped").inc(self._waiting.qsize())

    async def _send_waiting(self) -> None:
        while True:
            addressed = await self._waiting.get()
            try:
                await self._publisher.publish(
                    addressed.message, exchange=names.REPLIES, key=addressed.to, mandatory=False
                )
                self._total.labels("sent").inc()
            except (PublishFailed, PublishUnknown):
                self._total.labels("failed").inc()
            except Exception as error:  # noqa: BLE001 - one answer that cannot be written must not end all answering
                self._total.labels("failed").inc()
                logger().error("reply_not_sent", routing_key=addressed.message.type, error=error)
            finally:
                self._waiting.task_done()
