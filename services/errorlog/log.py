"""Logging errors: those that services raise, and messages that could not be handled."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from services.errorlog import rules
from services.errorlog.rules import subjects_of, without_persons
from services.errorlog.store import LoggedEntry, add_message, add_or_count, is_forgotten, is_kept
from shared.card_numbers import mask
from shared.contracts.errorlog import ErrorLogged, ErrorRaised, ErrorSource
from shared.messaging.anonymization import anonymized_body
from shared.messaging.dead_letter import DeadLetter
from shared.messaging.unit_of_work import UnitOfWork
from shared.observability.logs import printable

ITSELF: Final = "service:errorlog"
MAX_HEADERS: Final = 50
MAX_HEADER: Final = 1000


async def log_error(work: UnitOfWork, error: ErrorRaised) -> None:
    """An error that a service raised stands in the list, or is counted where it stands already.

    Rule: docs/domain.md, "Error log".
    """
    if error.reference_number is not None and await is_forgotten(work, {error.reference_number}):
        error = without_persons(error)
    service = work.context.routing_key.split(".", 1)[0] or "unknown"
    fingerprint = rules.fingerprint_of_raised(service, error)
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
            "same_trouble": rules.same_trouble(fingerprint, error.reference_number, error.item_number),
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
    if await is_kept(work, death):
        return
    client = rules.client_of(letter.reason, letter.client_id, letter.user)
    work = replace(work, context=replace(work.context, client_id=client))
    if await is_forgotten(work, subjects_of(client, _reference_number(letter), letter.body)):
        headers = {name: value for name, value in letter.headers.items() if name != "reason"}
        letter = replace(letter, body=anonymized_body(letter.body), detail=None, headers=headers)
    seen = min(letter.died_at, datetime.now(UTC))
    logged = await _log(work, _entry_of(letter, client), seen=seen, actor=ITSELF)
    if letter.reason in rules.NOT_ADMITTED and logged.occurrences > rules.MAX_KEPT_REFUSALS:
        return
    add_message(work, logged.error_id, death, _message_of(letter))


def _entry_of(letter: DeadLetter, client: str) -> dict[str, Any]:
    reference_number = _reference_number(letter)
    fingerprint = rules.fingerprint_of_dead_letter(
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
        "error_type": rules.error_type_of(letter.reason),
        "title": _line(rules.title_of(letter.key, letter.reason)),
        "note": mask(printable(letter.detail, 4000)) if letter.detail else None,
        "reference_number": reference_number,
        "item_number": None,
        "client_handles_error": False,
        "service": printable(letter.queue.partition(".")[0] or "unknown", 63),
        "fingerprint": fingerprint,
        "same_trouble": rules.same_trouble(fingerprint, reference_number),
        "facts": {name: _text(value) if isinstance(value, str) else value for name, value in facts.items()},
        "message_id": letter.message_id,
        "correlation_id": printable(letter.correlation_id, 255) if letter.correlation_id else None,
    }


async def _log(work: UnitOfWork, entry: dict[str, Any], *, seen: datetime, actor: str) -> LoggedEntry:
    """Tell of a new entry; repeats are only counted."""
    logged = await add_or_count(work, entry, seen=seen, actor=actor)
    if logged.is_new:
        event = ErrorLogged(
            error_id=logged.error_id,
            error_type=entry["error_type"],
            source=ErrorSource(entry["source"]),
            service=entry["service"],
            title=entry["title"],
            reference_number=entry["reference_number"],
        )
        await work.publish(event, order_key=logged.error_id, subject=entry["reference_number"])
    return logged


def _message_of(letter: DeadLetter) -> dict[str, Any]:
    headers = list(letter.headers.items())[:MAX_HEADERS]
    return {
        "queue": printable(letter.queue, 255),
        "exchange": printable(letter.exchange, 255),
        "routing_key": printable(letter.key, 255),
        "sender": printable(letter.user, 255),
        "message_id": letter.message_id,
        "correlation_id": printable(letter.correlation_id, 255) if letter.correlation_id else None,
        "reason": rules.error_type_of(letter.reason),
        "attempts": letter.attempts,
        "died_at": letter.died_at,
        "headers": {_text(name): _text(value) for name, value in headers},
        "body": _masked(letter.body)[: rules.MAX_KEPT_BYTES],
        "body_bytes": len(letter.body),
    }


def _masked(body: bytes) -> bytes:
    """A body without card numbers. What is not UTF-8 is looked through byte by byte."""
    body = body[: rules.MAX_KEPT_BYTES + 1024]
    try:
        return mask(body.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return mask(body.decode("latin-1")).encode("latin-1")


def _reference_number(letter: DeadLetter) -> str | None:
    named = rules.reference_number_of(letter.reference_number or letter.headers.get("x-aftersale-reference"))
    if named is not None or len(letter.body) > rules.MAX_KEPT_BYTES:
        return named
    try:
        body = json.loads(letter.body)
    except (ValueError, RecursionError):
        return None
    return rules.reference_number_of(body.get("reference_number")) if isinstance(body, dict) else None


def _death(letter: DeadLetter) -> str:
    digest = hashlib.sha256(letter.body)
    for part in (letter.queue, letter.key, letter.message_id, letter.reason, letter.attempts, letter.died_at):
        digest.update(b"\x00" + str(part).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _line(value: str) -> str:
    return printable(mask(value), 255)


def _text(value: str) -> str:
    return printable(mask(value), MAX_HEADER)
