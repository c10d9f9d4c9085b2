"""Where a message goes that could not be handled now: up the retry ladder, and from its end to the error log."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aio_pika
from aio_pika import DeliveryMode

from shared.card_numbers import mask
from shared.ids import new_id
from shared.messaging import names
from shared.messaging.inbound.bodies import MAX_BODY, masked
from shared.messaging.inbound.incoming_message import PREFIX, IncomingMessage
from shared.messaging.inbound.validation import message_id_of
from shared.messaging.outbound.publisher import Publisher, PublishFailed, PublishUnknown
from shared.observability.logs import error_location, error_type, logger
from shared.observability.metrics import Metrics

_PAUSE: Final = 1.0
NOT_READABLE: Final = b"(not kept: compressed)"
"""What is packed cannot be searched for card numbers."""


@dataclass(frozen=True)
class Cause:
    """Why a message could not be handled."""

    reason: str
    handler: str | None = None
    error: BaseException | None = None
    detail: str | None = None


class Retry:
    """Confirmed copies: the original is acknowledged only after the broker has the copy."""

    def __init__(self, publisher: Publisher, *, service: str, user: str, metrics: Metrics) -> None:
        self._publisher = publisher
        self._metrics = metrics
        self._service = service
        self._user = user

    async def schedule_retry(self, incoming: IncomingMessage, cause: Cause) -> None:
        """Let the message come back later; after the last step it goes to the error log."""
        attempts = incoming.attempts + 1
        if attempts > len(names.RETRY_DELAYS):
            reason = "attempts_used_up" if cause.error is not None else cause.reason
            await self.dead_letter(incoming, Cause(reason, cause.handler, cause.error, cause.detail))
            return
        step = names.RETRY_DELAYS[attempts - 1]
        await self._publish(self.retry_copy(incoming, attempts), names.RETRY, f"{step.name}.{incoming.queue}")
        self._metrics.messages_retried_total.labels(incoming.queue, step.name).inc()
        logger().warning("message_deferred", **_story(incoming, cause), attempt=attempts)

    async def dead_letter(self, incoming: IncomingMessage, cause: Cause) -> None:
        """Give the message to the error log, with all that is needed to mend the cause and handle it again."""
        own = incoming.service == "errorlog"
        await self._publish(self.dead_copy(incoming, cause), names.PARKED if own else names.DEAD, incoming.queue)
        self._metrics.messages_dead_total.labels(incoming.queue, cause.reason).inc()
        logger().error("message_dead", **_story(incoming, cause), attempt=incoming.attempts)

    def retry_copy(self, incoming: IncomingMessage, attempts: int) -> aio_pika.Message:
        """What waits on the retry ladder: the body as it came, under the id it came with."""
        return self._copy(incoming, incoming.body, attempts=attempts, message_id=incoming.message_id)

    def dead_copy(self, incoming: IncomingMessage, cause: Cause) -> aio_pika.Message:
        """What the error log gets: masked, and under an id of its own, since a message may die again after a retry."""
        body = masked(incoming.body[:MAX_BODY]) if not incoming.content_encoding else NOT_READABLE
        headers = {
            "message-id": incoming.message_id,
            "reason": cause.reason,
            "handler": cause.handler,
            "error-type": error_type(cause.error) if cause.error else None,
            "error-at": error_location(cause.error) if cause.error else None,
            "detail": cause.detail,
            "died-at": datetime.now(UTC).isoformat(),
            "reference": _reference(body),
            "truncated-from": str(len(incoming.body)) if len(incoming.body) > MAX_BODY else None,
        }
        return self._copy(incoming, body, attempts=incoming.attempts, message_id=str(new_id()), more=headers)

    def _copy(
        self,
        incoming: IncomingMessage,
        body: bytes,
        *,
        attempts: int,
        message_id: str | None,
        more: Mapping[str, str | None] | None = None,
    ) -> aio_pika.Message:
        headers: dict[str, Any] = {mask(name): mask(value) for name, value in incoming.kept_headers().items()}
        own = {"queue": incoming.queue, "exchange": incoming.exchange, "key": incoming.key, "user": incoming.user}
        headers |= {PREFIX + name: mask(value) for name, value in (own | dict(more or {})).items() if value}
        headers[PREFIX + "attempts"] = attempts
        return aio_pika.Message(
            body,
            headers=headers,
            content_type=_masked(incoming.content_type),
            content_encoding=_masked(incoming.content_encoding),
            message_id=message_id,
            correlation_id=_masked(incoming.correlation_id),
            reply_to=incoming.reply_queue(isolated=False),
            type=mask(incoming.key),
            app_id=self._service,
            user_id=self._user or None,
            delivery_mode=DeliveryMode.PERSISTENT,
        )

    async def _publish(self, copy: aio_pika.Message, exchange: str, key: str) -> None:
        """Until the broker has it. Meanwhile the original stays unacknowledged, so nothing can be lost."""
        told = False
        while True:
            try:
                await self._publisher.publish(copy, exchange=exchange, key=key)
            except (PublishFailed, PublishUnknown) as error:
                if not told:
                    logger().warning("copy_not_accepted", routing_key=key, error=error)
                    told = True
                await asyncio.sleep(_PAUSE)
            else:
                return


def _masked(value: str | None) -> str | None:
    return mask(value) if value else value


def _story(incoming: IncomingMessage, cause: Cause) -> dict[str, Any]:
    message_id = message_id_of(incoming)
    return {
        "queue": incoming.queue,
        "handler": cause.handler,
        "code": cause.reason,
        "message_id": str(message_id) if message_id else None,
        "error_type": error_type(cause.error) if cause.error else None,
        "error_at": error_location(cause.error) if cause.error else None,
    }


def _reference(body: bytes) -> str | None:
    """The purchase it is about, so that the error stands beside the purchase."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    reference = value.get("reference_number") if isinstance(value, dict) else None
    return reference if isinstance(reference, str) and reference.isascii() and len(reference) <= 20 else None  # noqa: PLR2004
