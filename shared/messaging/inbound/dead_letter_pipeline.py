"""What the error log takes beside events: messages that no service could handle."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_OID, UUID, uuid5

from aio_pika.abc import AbstractIncomingMessage

from shared.card_numbers import mask
from shared.contracts.message import Message
from shared.messaging import names
from shared.messaging.dead_letter import DeadLetter
from shared.messaging.handlers import Route
from shared.messaging.inbound.acknowledgement import acknowledge
from shared.messaging.inbound.bodies import MAX_BODY, masked
from shared.messaging.inbound.incoming_message import PREFIX, IncomingMessage, read_incoming
from shared.messaging.inbound.validation import Request, correlation_of, message_id_of
from shared.messaging.message_context import MessageContext
from shared.messaging.names import QueueKind
from shared.messaging.recovery.circuit_breaker import CircuitBreaker
from shared.messaging.recovery.error_classification import is_outage
from shared.messaging.recovery.retry import Cause, Retry
from shared.messaging.transaction.transactions import Transactions
from shared.messaging.unit_of_work import UnitOfWork

ACTOR: Final = "service:errorlog"
NO_CLIENT: Final = "*"
_MOST_ATTEMPTS: Final = 2**31 - 1
"""What the column of the error log holds."""


class Died(Message):
    """Stands for a dead letter in the inbox; it has no body of its own."""


@dataclass(frozen=True)
class DeadLetterPipeline:
    """Takes dead letters one at a time each; what cannot be logged is parked, never sent round again."""

    log: Callable[[DeadLetter, UnitOfWork], Awaitable[None]]
    transactions: Transactions
    retry: Retry
    database: CircuitBreaker
    wake: Callable[[Any], None]

    async def receive(self, raw: AbstractIncomingMessage) -> None:
        """Log a dead letter and acknowledge it."""
        incoming = read_incoming(raw, service="errorlog", queue=names.DEAD_LETTERS, kind=QueueKind.EVENTS)
        letter = read_letter(incoming)

        async def log_dead_letter(_message: Message, work: UnitOfWork) -> None:
            await self.log(letter, work)

        request = Request(
            route=Route("", Died, log_dead_letter, QueueKind.EVENTS),
            message=Died(),
            context=MessageContext(
                client_id=letter.client_id or NO_CLIENT,
                actor=ACTOR,
                message_id=_own_id(incoming),
                correlation_id=letter.correlation_id or "none",
            ),
            fingerprint=hashlib.sha256(incoming.body).digest(),
        )
        while True:
            await self.database.wait()
            try:
                outcome = await self.transactions.run(request, awaited=False)
            except Exception as error:  # noqa: BLE001 - a dead letter must not die again
                if is_outage(error):
                    self.database.trip(error)
                    continue
                await self.retry.dead_letter(incoming, Cause("not_loggable", "log_dead_letter", error))
            else:
                self.wake(outcome.woken)
            await acknowledge(raw)
            return


def read_letter(incoming: IncomingMessage) -> DeadLetter:
    """What is known of a dead letter: our own headers, or those the broker wrote when it gave up itself."""
    death = _broker_death(incoming.headers)
    # What the broker gave up bears the first sender's headers; ours, which we publish ourselves, never bear a death.
    own = (
        {}
        if death
        else {
            name.removeprefix(PREFIX): value
            for name, value in incoming.headers.items()
            if name.startswith(PREFIX) and isinstance(value, str)
        }
    )
    original_id = own.get("message-id") if own else incoming.message_id
    attempts = death.get("count") if death else incoming.headers.get(PREFIX + "attempts")
    return DeadLetter(
        queue=own.get("queue") or _word(death.get("queue")) or incoming.key,
        key=own.get("key") or _first(death.get("routing-keys")) or incoming.key,
        exchange=own.get("exchange") or _word(death.get("exchange")) or incoming.exchange,
        user=own.get("user") or incoming.user,
        client_id=_text(incoming, "client-id"),
        actor=_text(incoming, "actor"),
        message_id=_uuid(original_id),
        correlation_id=correlation_of(incoming),
        reason=own.get("reason") or _word(death.get("reason")) or "unknown",
        attempts=attempts if isinstance(attempts, int) and 0 <= attempts <= _MOST_ATTEMPTS else 0,
        handler=own.get("handler"),
        error_type=own.get("error-type"),
        error_at=own.get("error-at"),
        died_at=_moment(own.get("died-at")),
        body=masked(incoming.body[:MAX_BODY]),
        headers={name: mask(value) for name, value in incoming.kept_headers().items()},
        reference_number=own.get("reference"),
        detail=own.get("detail"),
    )


def _own_id(incoming: IncomingMessage) -> UUID:
    """The id of this death. The broker's own dead letters bear the id of the message, which may die again."""
    death = _broker_death(incoming.headers)
    if not death and (own := message_id_of(incoming)) is not None:
        return own
    parts = (incoming.message_id, death.get("queue"), death.get("count"), hashlib.sha256(incoming.body).hexdigest())
    return uuid5(NAMESPACE_OID, "/".join(str(part) for part in parts))


def _broker_death(headers: Mapping[str, Any]) -> dict[str, Any]:
    deaths = headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths else None
    return dict(first) if isinstance(first, dict) else {}


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _first(value: object) -> str | None:
    return _word(value[0]) if isinstance(value, list) and value else None


def _text(incoming: IncomingMessage, header: str) -> str | None:
    value = incoming.header(header)
    return mask(value)[:255] if value else None


def _uuid(value: str | None) -> UUID | None:
    try:
        return UUID(value or "")
    except ValueError:
        return None


def _moment(value: str | None) -> datetime:
    try:
        return datetime.fromisoformat(value or "").astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.now(UTC)
