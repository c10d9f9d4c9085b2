"""What counts as the same trouble, whose it is, what may stay of it, and when it is done. Pure.

Rules: docs/domain.md, "Error log", "Removing personal data".
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from shared.contracts import SERVICES
from shared.contracts.errorlog import ErrorRaised
from shared.contracts.personal import REMOVED
from shared.contracts.refusals import Refused

Fact = str | int | bool | None

PLATFORM: Final = "platform"
"""The client of errors that belong to no seller; operators act for it."""
MAX_KEPT_BYTES: Final = 262_144
"""No accepted message is larger; of a larger one only the beginning is kept."""
MAX_KEPT_REFUSALS: Final = 100
"""Copies kept of messages that were refused at the door; sending rubbish must not fill the disk."""

NOT_ADMITTED: Final = frozenset(
    {
        "too_large",
        "unsupported_content_type",
        "unsupported_content_encoding",
        "unexpected_route",
        "message_id_missing",
        "user_id_missing",
        "client_id_invalid",
        "actor_invalid",
        "reason_invalid",
        "forbidden_action",
        "forbidden_actor",
        "forbidden_client",
        "forbidden_publisher",
    }
)
"""Reasons for which a message died before it was known whether its sender may act for the client it names."""

NOT_CHECKED: Final = frozenset({"delivery_limit", "rejected", "expired", "maxlen", "unknown", "not_handled"})
"""Reasons of the broker itself, which knows nothing of clients, and of what broke, perhaps before they were checked."""

TITLES: Final[Mapping[str, str]] = {
    "attempts_used_up": "failed in every attempt",
    "missing_prerequisite": "waited in vain for what it builds on",
    "not_handled": "broke what should have handled it",
    "delivery_limit": "brought the service down again and again",
    "card_number": "holds a card number",
    "invalid_body": "does not have the form that was agreed",
    "invalid_json": "is not JSON",
    "too_large": "is too large",
    "message_id_missing": "has no message id",
    "unexpected_route": "came by a route that does not exist",
    "no_handler": "has nobody who handles it",
}

LONGEST_SUBJECT: Final = 200
_TELL_OF_NOBODY: Final = frozenset(
    {
        "actor",
        "amount",
        "attempts",
        "code",
        "currency",
        "email_id",
        "email_type",
        "exception",
        "handler",
        "raised_at",
        "refund_id",
        "sent_by",
    }
)
_IDS: Final = ("customer_id", "survivor_id", "merged_id", "reference_number")
_TYPE: Final = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
_REFERENCE: Final = re.compile(r"^[1-9][0-9]{8}$")
_CLIENT: Final = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")
_LINE_NUMBER: Final = re.compile(r":\d+(?= in |$)")


def fingerprint_of_raised(service: str, error: ErrorRaised) -> str:
    """The cause that the service names; else the type of the error."""
    if error.fingerprint is not None:
        return _hash("raised", service, error.fingerprint)
    return _hash("raised_type", service, error.error_type)


def fingerprint_of_dead_letter(
    *, queue: str, handler: str, reason: str, error_type: str | None, error_at: str | None
) -> str:
    """The cause of a failed message: where it arose in our code, not what was in the message.

    `handler` is the routing key where no handler was reached. The line number does not count, so that the next
    release does not make new trouble of old.
    """
    frame = _LINE_NUMBER.sub("", error_at) if error_at else None
    return _hash("dead_letter", queue, handler, reason, error_type, frame)


def same_trouble(fingerprint: str, reference_number: str | None, item_number: int | None = None) -> str:
    """An error is listed with its own purchase, so the same cause at two purchases is two entries."""
    return _hash(fingerprint, reference_number, item_number)


def client_of(reason: str, named: str | None, sender: str) -> str:
    """Whose error a dead letter is. A client that was named by somebody unproven is not believed."""
    if named is None or not _CLIENT.fullmatch(named) or reason in NOT_ADMITTED:
        return PLATFORM
    return PLATFORM if reason in NOT_CHECKED and sender not in SERVICES else named


def error_type_of(reason: str) -> str:
    """The error type of a dead letter: the reason of its death."""
    return reason if _TYPE.fullmatch(reason) else "dead_letter"


def title_of(key: str, reason: str) -> str:
    """One line for the list."""
    return f"{key or 'A message'} {TITLES.get(reason, 'could not be handled: ' + reason.replace('_', ' '))}"


def reference_number_of(candidate: object) -> str | None:
    """A reference number, if it is one."""
    return candidate if isinstance(candidate, str) and _REFERENCE.fullmatch(candidate) else None


def check_complete(completed_by: str | None, completed_at: datetime | None) -> None:
    """Raises Refused `error_already_done` for an error that somebody has marked as mended."""
    if completed_at is not None:
        raise Refused(
            "error_already_done",
            f"{completed_by} has marked this error as mended.",
            completed_by=completed_by,
            completed_at=completed_at.isoformat(),
        )


def without_persons(error: ErrorRaised) -> ErrorRaised:
    """A raised error without what may tell of a person."""
    note = REMOVED if error.note else None
    return error.model_copy(update={"note": note, "facts": without_names(error.facts)})


def subjects_of(client_id: str, reference_number: str | None, body: bytes) -> set[str]:
    """Whom a failed message concerns, in the form of tombstones."""
    subjects = {reference_number} if reference_number else set()
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return subjects
    if not isinstance(value, dict):
        return subjects
    named = {name for name in map(value.get, _IDS) if isinstance(name, str)}
    if isinstance(order := value.get("client_order_id"), str):
        named.add(order_of(client_id, order))
    return subjects | {name for name in named if len(name) <= LONGEST_SUBJECT and name.isprintable()}


def order_of(client_id: str, client_order_id: str) -> str:
    """The seller's order number in the form of tombstones."""
    return f"{client_id}/{client_order_id}"


def without_names(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Facts without words that may tell of a person."""
    return {
        name: fact if name in _TELL_OF_NOBODY or not isinstance(fact, str) else REMOVED for name, fact in facts.items()
    }


def _hash(*parts: str | int | None) -> str:
    digest = hashlib.sha256()
    for part in parts:
        text = b"\x00" if part is None else str(part).encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()[:32]
