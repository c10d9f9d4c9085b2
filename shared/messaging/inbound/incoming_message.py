"""A message as it came from the broker, with nothing believed yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aio_pika.abc import AbstractIncomingMessage

from shared.messaging import names
from shared.messaging.names import QueueKind

PREFIX: Final = "x-aftersale-"
"""Our own bookkeeping on copies of a message. Believed only on messages that came back through the return exchange,
to which nobody but the owner of the queue can publish."""
_MAX_ATTEMPTS: Final = 1000


@dataclass(frozen=True)
class IncomingMessage:
    """What the broker delivered. Exchange, key and user are the first publisher's, also on the way back."""

    service: str
    queue: str
    kind: QueueKind
    exchange: str
    key: str
    user: str
    body: bytes
    headers: Mapping[str, Any]
    content_type: str | None
    content_encoding: str | None
    message_id: str | None
    correlation_id: str | None
    reply_to: str | None
    attempts: int
    """How often it was tried before, counted by us."""
    rerouted: bool = False
    """Brought here by the broker from another queue, and not from one of our retry queues. A peer could let replies
    of ours expire into our exchanges; they would bear our user."""

    def header(self, name: str) -> str | None:
        """A header that is a text; anything else counts as missing."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else None

    def reply_queue(self, *, isolated: bool) -> str | None:
        """The caller's reply queue, if it is the caller's: `replies.<user>.<anything>`. Nobody else's is written to."""
        if not self.reply_to or len(self.reply_to.encode()) > 255:  # noqa: PLR2004 - the longest AMQP short string
            return None
        prefix = f"replies.{self.user}." if isolated else "replies."
        return self.reply_to if self.reply_to.startswith(prefix) and self.reply_to != prefix else None

    def kept_headers(self) -> dict[str, str]:
        """The sender's own headers as a copy may carry them: texts only, and none that steers the broker."""
        return {
            name: value
            for name, value in self.headers.items()
            if isinstance(value, str) and not name.lower().startswith("x-") and len(value) <= 1024  # noqa: PLR2004
        }


def read_incoming(raw: AbstractIncomingMessage, *, service: str, queue: str, kind: QueueKind) -> IncomingMessage:
    """Read a delivery without judging it."""
    headers = raw.headers or {}
    returned = raw.exchange == names.RETURN

    def original(name: str, own: str | None) -> str:
        value = headers.get(PREFIX + name) if returned else own
        return value if isinstance(value, str) else ""

    attempts = headers.get(PREFIX + "attempts") if returned else 0
    return IncomingMessage(
        service=service,
        queue=queue,
        kind=kind,
        exchange=original("exchange", raw.exchange),
        key=original("key", raw.routing_key),
        user=original("user", raw.user_id),
        body=raw.body,
        headers=headers,
        content_type=raw.content_type,
        content_encoding=raw.content_encoding,
        message_id=raw.message_id,
        correlation_id=raw.correlation_id,
        reply_to=raw.reply_to,
        attempts=attempts if isinstance(attempts, int) and 0 <= attempts <= _MAX_ATTEMPTS else 0,
        rerouted=not returned and "x-death" in headers,
    )
