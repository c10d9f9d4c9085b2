"""The error log's other intake: messages that no service could handle."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_OID, UUID, uuid5

from aio_pika.abc import AbstractIncomingMessage

from shared.contracts.message import Message
from shared.messaging import names
from shared.messaging.admission import Request, correlation_of, message_id_of
from shared.messaging.bodies import MAX_BODY, masked
from shared.messaging.breaker import Breaker
from shared.messaging.card_numbers import mask
from shared.messaging.dead_letters import DeadLetter
from shared.messaging.delivery import PREFIX, Delivery, read_delivery
from shared.messaging.failures import is_outage
from shared.messaging.handlers import Route
from shared.messaging.ladder import Cause, Ladder
from shared.messaging.names import QueueKind
from shared.messaging.origin import Origin
from shared.messaging.transactions import Transactions
from shared.messaging.work import Work

ACTOR: Final = "service:errorlog"
NO_CLIENT: Final = "*"


class Died(Message):
    """Stands for a dead letter in the inbox; it has no body of its own."""


@dataclass(frozen=True)
class DeadLetterReceiver:
    """Takes dead letters one at a time each; what cannot be logged is parked, never sent round again."""

    log: Callable[[DeadLetter, Work], Awaitable[None]]
    transactions: Transactions
    ladder: Ladder
    database: Breaker
    wake: Callable[[Any], None]

    async def receive(self, raw: AbstractIncomingMessage) -> None:
        """Log a dead letter and acknowledge it."""
        delivery = read_delivery(raw, service="errorlog", queue=names.DEAD_LETTERS, kind=QueueKind.EVENTS)
        letter = read_letter(delivery)

        async def log_dead_letter(_message: Message, work: Work) -> None:
            await self.log(letter, work)

        request = Request(
            route=Route("", Died, log_dead_letter, QueueKind.EVENTS),
            message=Died(),
            origin=Origin(
                client_id=letter.client_id or NO_CLIENT,
                actor=ACTOR,
                message_id=_own_id(delivery),
                correlation_id=letter.correlation_id or "none",
            ),
            fingerprint=hashlib.sha256(delivery.body).digest(),
        )
        while True:
            await self.database.wait()
            try:
                outcome = await self.transactions.run(request, awaited=False)
            except Exception as error:  # noqa: BLE001 - a dead letter must not die again
                if is_outage(error):
                    self.database.trip(error)
                    continue
                await self.ladder.bury(delivery, Cause("not_loggable", "log_dead_letter", error))
            else:
                self.wake(outcome.woken)
            await raw.ack()
            return


def read_letter(delivery: Delivery) -> DeadLetter:
    """What is known of a dead letter: our own headers, or those the broker wrote when it gave up itself."""
    death = _broker_death(delivery.headers)
    # What the broker gave up bears the first sender's headers; ours, which we publish ourselves, never bear a death.
    own = (
        {}
        if death
        else {
            name.removeprefix(PREFIX): value
            for name, value in delivery.headers.items()
            if name.startswith(PREFIX) and isinstance(value, str)
        }
    )
    original_id = own.get("message-id") if own else delivery.message_id
    attempts = None if death else delivery.headers.get(PREFIX + "attempts")
    return DeadLetter(
        queue=own.get("queue") or death.get("queue") or delivery.key,
        key=own.get("key") or _first(death.get("routing-keys")) or delivery.key,
        exchange=own.get("exchange") or death.get("exchange") or delivery.exchange,
        user=own.get("user") or delivery.user,
        client_id=_text(delivery, "client-id"),
        actor=_text(delivery, "actor"),
        message_id=_uuid(original_id),
        correlation_id=correlation_of(delivery),
        reason=own.get("reason") or death.get("reason") or "unknown",
        attempts=attempts if isinstance(attempts, int) else int(death.get("count") or 0),
        handler=own.get("handler"),
        error_type=own.get("error-type"),
        error_at=own.get("error-at"),
        died_at=_moment(own.get("died-at")),
        body=masked(delivery.body[:MAX_BODY]),
        headers={name: mask(value) for name, value in delivery.kept_headers().items()},
        reference_number=own.get("reference"),
        detail=own.get("detail"),
    )


def _own_id(delivery: Delivery) -> UUID:
    """The id of this death. The broker's own dead letters bear the id of the message, which may die again."""
    death = _broker_death(delivery.headers)
    if not death and (own := message_id_of(delivery)) is not None:
        return own
    parts = (delivery.message_id, death.get("queue"), death.get("count"), hashlib.sha256(delivery.body).hexdigest())
    return uuid5(NAMESPACE_OID, "/".join(str(part) for part in parts))


def _broker_death(headers: Mapping[str, Any]) -> dict[str, Any]:
    deaths = headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths else None
    return dict(first) if isinstance(first, dict) else {}


def _first(value: object) -> str | None:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], str) else None


def _text(delivery: Delivery, header: str) -> str | None:
    value = delivery.header(header)
    return mask(value)[:255] if value else None


def _uuid(value: str | None) -> UUID | None:
    try:
        return UUID(value or "")
    except ValueError:
        return None


def _moment(value: str | None) -> datetime:
    try:
        return datetime.fromisoformat(value or "").astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)
