"""Errors come in: raised by services, and as messages that could not be handled."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from services.errorlog import domain
from services.errorlog.anonymizing import is_forgotten, subjects_of, without_persons
from services.errorlog.models import IS_OPEN, ErrorEntry, FailedMessage
from shared.card_numbers import mask
from shared.contracts.errorlog import ErrorLogged, ErrorRaised, ErrorSource
from shared.ids import new_id
from shared.messaging.anonymization import anonymized_body
from shared.messaging.dead_letter import DeadLetter
from shared.messaging.unit_of_work import UnitOfWork
from shared.observability.logs import printable

ITSELF = "service:errorlog"
MAX_HEADERS = 50
MAX_HEADER = 1000


async def log_error(work: UnitOfWork, error: ErrorRaised) -> None:
    """An error that a service raised stands in the list, or is counted where it stands already.

    Rule: docs/domain.md, "Error log".
    """
    if error.reference_number is not None and await is_forgotten(work, {error.reference_number}):
        error = without_persons(error)
    service = work.context.routing_key.split(".", 1)[0] or "unknown"
    fingerprint = domain.fingerprint_of_raised(service, error)
    await _log(
        work,
        {
            "client_id": work.context.client_id,
            "source": ErrorSource.RAISED.value,
            "error_type": error.error_type,
            "title": _line(error.title),
            "note": mask(error.note) if error.note else None,
            "reference_number": error.reference_number,
            "item_number": error.item_number,
            "client_handles_error": error.client_handles_error,
            "service": service,
            "fingerprint": fingerprint,
            "same_trouble": domain.same_trouble(fingerprint, error.reference_number, error.item_number),
            "facts": {key: mask(value) if isinstance(value, str) else value for key, value in error.facts.items()},
            "message_id": work.context.message_id,
            "correlation_id": work.context.correlation_id,
        },
        seen=datetime.now(UTC),
        actor=work.context.actor,
    )


async def log_dead_letter(work: UnitOfWork, letter: DeadLetter) -> None:
    """A message that could not be handled stands in the list next to its purchase, with all that is needed to retry.

    A letter that the broker delivers twice is counted once. Rule: docs/domain.md, "Dead letters".
    """
    death = _death(letter)
    if await work.session.scalar(select(FailedMessage.id).where(FailedMessage.death == death)) is not None:
        return
    client = domain.client_of(letter.reason, letter.client_id, letter.user)
    work = replace(work, context=replace(work.context, client_id=client))
    if await is_forgotten(work, subjects_of(client, _reference_number(letter), letter.body)):
        headers = {name: value for name, value in letter.headers.items() if name != "reason"}
        letter = replace(letter, body=anonymized_body(letter.body), detail=None, headers=headers)
    entry_id, occurrences = await _log(
        work, _entry_of(letter, client), seen=min(letter.died_at, datetime.now(UTC)), actor=ITSELF
    )
    if letter.reason in domain.NOT_ADMITTED and occurrences > domain.MAX_KEPT_REFUSALS:
        return
    work.session.add(_kept(letter, entry_id, death))


def _entry_of(letter: DeadLetter, client: str) -> dict[str, Any]:
    reference_number = _reference_number(letter)
    fingerprint = domain.fingerprint_of_dead_letter(
        queue=letter.queue,
        handler=letter.handler or letter.key,
        reason=letter.reason,
        error_type=letter.error_type,
        error_at=letter.error_at,
    )
    facts = {
        "reason": letter.reason,
        "attempts": letter.attempts,
        "handler": letter.handler,
        "exception": letter.error_type,
        "raised_at": letter.error_at,
        "sent_by": letter.user,
        "actor": letter.actor,
    }
    return {
        "client_id": client,
        "source": ErrorSource.DEAD_LETTER.value,
        "error_type": domain.error_type_of(letter.reason),
        "title": _line(domain.title_of(letter.key, letter.reason)),
        "note": mask(printable(letter.detail, 4000)) if letter.detail else None,
        "reference_number": reference_number,
        "item_number": None,
        "client_handles_error": False,
        "service": printable(letter.queue.partition(".")[0] or "unknown", 63),
        "fingerprint": fingerprint,
        "same_trouble": domain.same_trouble(fingerprint, reference_number),
        "facts": {name: _text(value) if isinstance(value, str) else value for name, value in facts.items()},
        "message_id": letter.message_id,
        "correlation_id": printable(letter.correlation_id, 255) if letter.correlation_id else None,
    }


async def _log(work: UnitOfWork, values: Mapping[str, Any], *, seen: datetime, actor: str) -> tuple[UUID, int]:
    """Insert the entry, or count the repeat in one statement: several instances may see the same trouble at once."""
    entry_id = new_id()
    statement = insert(ErrorEntry).values(
        id=entry_id, first_seen=seen, last_seen=seen, created_by=actor, changed_by=actor, **values
    )
    counted = statement.on_conflict_do_update(
        index_elements=["client_id", "same_trouble"],
        index_where=text(IS_OPEN),
        set_={
            "occurrences": ErrorEntry.occurrences + 1,
            "first_seen": func.least(ErrorEntry.first_seen, statement.excluded.first_seen),
            "last_seen": func.greatest(ErrorEntry.last_seen, statement.excluded.last_seen),
        },
    ).returning(ErrorEntry.id, ErrorEntry.occurrences)
    logged_id, occurrences = (await work.session.execute(counted)).one()
    if logged_id == entry_id:
        await work.publish(
            ErrorLogged(
                error_id=entry_id,
                error_type=values["error_type"],
                source=ErrorSource(values["source"]),
                service=values["service"],
                title=values["title"],
                reference_number=values["reference_number"],
            ),
            order_key=entry_id,
            subject=values["reference_number"],
        )
    return logged_id, occurrences


def _kept(letter: DeadLetter, entry_id: UUID, death: str) -> FailedMessage:
    headers = list(letter.headers.items())[:MAX_HEADERS]
    return FailedMessage(
        error_id=entry_id,
        death=death,
        queue=printable(letter.queue, 255),
        exchange=printable(letter.exchange, 255),
        routing_key=printable(letter.key, 255),
        sender=printable(letter.user, 255),
        message_id=letter.message_id,
        correlation_id=printable(letter.correlation_id, 255) if letter.correlation_id else None,
        reason=domain.error_type_of(letter.reason),
        attempts=letter.attempts,
        died_at=letter.died_at,
        headers={_text(name): _text(value) for name, value in headers},
        body=_masked(letter.body)[: domain.MAX_KEPT_BYTES],
        body_bytes=len(letter.body),
    )


def _masked(body: bytes) -> bytes:
    """A body without card numbers. What is not UTF-8 is looked through byte by byte."""
    body = body[: domain.MAX_KEPT_BYTES + 1024]
    try:
        return mask(body.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return mask(body.decode("latin-1")).encode("latin-1")


def _reference_number(letter: DeadLetter) -> str | None:
    named = domain.reference_number_of(letter.reference_number or letter.headers.get("x-aftersale-reference"))
    if named is not None or len(letter.body) > domain.MAX_KEPT_BYTES:
        return named
    try:
        body = json.loads(letter.body)
    except (ValueError, RecursionError):
        return None
    return domain.reference_number_of(body.get("reference_number")) if isinstance(body, dict) else None


def _death(letter: DeadLetter) -> str:
    digest = hashlib.sha256(letter.body)
    for part in (letter.queue, letter.key, letter.message_id, letter.reason, letter.attempts, letter.died_at):
        digest.update(b"\x00" + str(part).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _line(value: str) -> str:
    return printable(mask(value), 255)


def _text(value: str) -> str:
    return printable(mask(value), MAX_HEADER)
