"""What is checked before a message may touch the database."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from shared.card_numbers import holds_card_number
from shared.contracts.message import Message
from shared.contracts.refusals import Refused
from shared.contracts.values import ALL_CLIENTS, Line
from shared.messaging import names
from shared.messaging.handlers import Handlers, Route
from shared.messaging.inbound.authorization import Principals
from shared.messaging.inbound.bodies import card_number_refused, check_envelope, validate
from shared.messaging.inbound.incoming_message import IncomingMessage
from shared.messaging.message_context import MessageContext
from shared.messaging.names import QueueKind

_CLIENT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ACTOR: Final = re.compile(r"(?:user|service):[A-Za-z0-9][A-Za-z0-9._@-]{0,98}")
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]{1,255}")
_REASON: Final = TypeAdapter(Line)
_HEX_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Request:
    """A message that may be handled."""

    route: Route
    message: Message
    context: MessageContext
    fingerprint: bytes
    """SHA-256 over key, client, user and body: the same id must mean the same message."""

    @property
    def lane(self) -> str | None:
        """What the message is about; messages about the same are handled one after the other."""
        key = self.route.lane(self.message) if self.route.lane else None
        return f"{self.context.client_id}/{key}" if key is not None else None


def validate_message(incoming: IncomingMessage, handlers: Handlers, principals: Principals) -> Request:
    """Check a delivery. Raises Refused with the code of the first thing that is wrong."""
    check_envelope(
        size=len(incoming.body),
        content_type=incoming.content_type,
        content_encoding=incoming.content_encoding,
    )
    route = _route(incoming, handlers)
    message_id = _message_id(incoming)
    client, actor = _on_behalf_of(incoming)
    principals.check(user=incoming.user, key=incoming.key, client=client, actor=actor, kind=incoming.kind)
    # Not earlier: the error log believes the client of a message that was refused for what is in it.
    _check_card_numbers(incoming)
    return Request(
        route=route,
        message=validate(route.message, incoming.body),
        context=MessageContext(
            client_id=client,
            actor=actor,
            message_id=message_id,
            correlation_id=correlation_of(incoming),
            traceparent=_traceparent(incoming),
            user=incoming.user,
            routing_key=incoming.key,
            reason=_reason(incoming),
        ),
        fingerprint=_fingerprint(incoming, client),
    )


def correlation_of(incoming: IncomingMessage) -> str:
    """The flow a message belongs to: its correlation id, or its own id where it begins one."""
    for candidate in (incoming.correlation_id, incoming.message_id):
        if candidate and _PRINTABLE.fullmatch(candidate):
            return candidate
    return "none"


def message_id_of(incoming: IncomingMessage) -> UUID | None:
    """The message id, if it is a UUID in its usual form."""
    text = incoming.message_id or ""
    try:
        parsed = UUID(text)
    except ValueError:
        return None
    return parsed if str(parsed) == text.lower() and parsed.int not in (0, (1 << 128) - 1) else None


def _route(incoming: IncomingMessage, handlers: Handlers) -> Route:
    route = handlers.route(incoming.kind, incoming.key)
    expected = names.EVENTS if incoming.kind is QueueKind.EVENTS else names.COMMANDS
    if route is None or incoming.exchange != expected or incoming.rerouted:
        raise Refused("unexpected_route", "This queue does not take this message.", key=incoming.key[:255])
    return route


def _check_card_numbers(incoming: IncomingMessage) -> None:
    """Headers and the correlation id are kept and logged; a trace or an id of 32 hexadecimal digits is no card."""
    texts = [incoming.correlation_id or ""]
    for name, value in incoming.headers.items():
        texts += [name, value] if isinstance(value, str) and name != "traceparent" else [name]
    # One look for all of them: no run of digits goes over the end of a line.
    if holds_card_number("\n".join(text for text in texts if not _HEX_ID.fullmatch(text))):
        raise card_number_refused()


def _message_id(incoming: IncomingMessage) -> UUID | None:
    message_id = message_id_of(incoming)
    if message_id is None and incoming.kind is not QueueKind.QUERIES:
        raise Refused(
            "message_id_missing",
            "A command or event needs a UUID as its message_id: without one it cannot be handled only once.",
        )
    return message_id


def _on_behalf_of(incoming: IncomingMessage) -> tuple[str, str]:
    if not incoming.user and incoming.kind is not QueueKind.EVENTS:
        raise Refused("user_id_missing", "Set the property user_id to your broker user; the broker proves it.")
    client = incoming.header("client-id") or ""
    if client != ALL_CLIENTS and not _CLIENT.fullmatch(client):
        raise Refused("client_id_invalid", "The header client-id names no client.")
    actor = incoming.header("actor") or ""
    if not _ACTOR.fullmatch(actor):
        raise Refused("actor_invalid", "The header actor is user:<name> or service:<name>.")
    return client, actor


def _reason(incoming: IncomingMessage) -> str | None:
    given = incoming.headers.get("reason")
    if given is None:
        return None
    try:
        return _REASON.validate_python(given, strict=True)
    except ValidationError:
        raise Refused(
            "reason_invalid", "The header reason is one line of 1 to 255 characters without control characters."
        ) from None


def _traceparent(incoming: IncomingMessage) -> str | None:
    value = incoming.header("traceparent")
    return value if value and _TRACEPARENT.fullmatch(value) else None


def _fingerprint(incoming: IncomingMessage, client: str) -> bytes:
    digest = hashlib.sha256()
    for part in (incoming.key.encode(), client.encode(), incoming.user.encode(), incoming.body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
