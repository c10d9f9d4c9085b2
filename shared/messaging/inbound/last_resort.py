"""What becomes of a message on which its pipeline broke in a way that nobody foresaw.

FastStream swallows what escapes a subscriber, and the message would stay unacknowledged, unseen, for as long as the
connection stands.
"""

from dataclasses import dataclass
from typing import Final

from aio_pika.abc import AbstractIncomingMessage

from shared.messaging.inbound.acknowledgement import acknowledge
from shared.messaging.inbound.incoming_message import IncomingMessage, read_incoming
from shared.messaging.names import QueueKind
from shared.messaging.recovery.error_classification import BrokerLost, is_outage
from shared.messaging.recovery.retry import Cause, Retry
from shared.observability.logs import logger

NOT_HANDLED: Final = "not_handled"
NOT_READABLE: Final = b"(not kept: could not be read)"


@dataclass(frozen=True)
class LastResort:
    """Logs it, gives it to the error log (what is the error log's own is parked), and acknowledges it."""

    retry: Retry
    service: str

    async def take(self, raw: AbstractIncomingMessage, error: Exception, *, queue: str, kind: QueueKind) -> None:
        """Find a place for a message that was not handled. In an outage it stays with the broker, as always."""
        logger().error("message_not_handled", queue=queue, error=error)
        if raw.processed or is_outage(error) or isinstance(error, BrokerLost):
            return
        cause = Cause(NOT_HANDLED, error=error)
        try:
            incoming = read_incoming(raw, service=self.service, queue=queue, kind=kind)
            await self.retry.dead_letter(incoming, cause)
        except Exception as another:  # noqa: BLE001 - the message itself may be what cannot be copied
            logger().error("message_emptied", queue=queue, error=another)
            await self.retry.dead_letter(self._emptied(queue, kind), cause)
        await acknowledge(raw)

    def _emptied(self, queue: str, kind: QueueKind) -> IncomingMessage:
        return IncomingMessage(
            service=self.service,
            queue=queue,
            kind=kind,
            exchange="",
            key="",
            user="",
            body=NOT_READABLE,
            headers={},
            content_type=None,
            content_encoding=None,
            message_id=None,
            correlation_id=None,
            reply_to=None,
            attempts=0,
        )
