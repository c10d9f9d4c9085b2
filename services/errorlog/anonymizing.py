"""Removing personal data from errors when the customers service says so; docs/domain.md, "Removing personal data".

A failed message is recognized by the purchase's reference number, by the seller's order number (it may have failed
before there was a reference number), or by the customer's id.
"""

import json
from collections.abc import AsyncIterator, Collection
from typing import Any, Final
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert

from services.errorlog.domain import PLATFORM
from services.errorlog.models import LONGEST_SUBJECT, ErrorEntry, ErrorlogTables, FailedMessage, Tombstone
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.errorlog import ErrorRaised
from shared.contracts.personal import REMOVED
from shared.messaging.anonymization import (
    anonymize_outbox,
    anonymized_body,
    lock_for_removing,
    lock_for_storing,
    without_reason,
)
from shared.messaging.unit_of_work import UnitOfWork

Fact = str | int | bool | None
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
_BODIES_AT_ONCE: Final = 200


async def anonymize_errors(work: UnitOfWork, event: CustomerAnonymized) -> None:
    """Errors about these purchases and messages that failed because of them tell of nobody any more."""
    client = work.context.client_id
    subjects = sorted(
        {str(event.customer_id), *event.reference_numbers, *(_order(client, one) for one in event.client_order_ids)}
    )
    await lock_for_removing(work.session, *subjects)
    await work.session.execute(
        insert(Tombstone).on_conflict_do_nothing(), [{"subject": subject} for subject in subjects]
    )
    entries = set(
        await work.session.scalars(
            select(ErrorEntry.id).where(
                ErrorEntry.client_id == client, ErrorEntry.reference_number.in_(event.reference_numbers)
            )
        )
    )
    async for message_id, entry_id, reference_number, body in _bodies(work, entries):
        if entry_id in entries or subjects_of(client, reference_number, body) & set(subjects):
            entries.add(entry_id)
            await work.session.execute(
                update(FailedMessage)
                .where(FailedMessage.id == message_id)
                .values(body=anonymized_body(body), headers=without_reason(FailedMessage.headers))
            )
    for entry in await work.session.scalars(select(ErrorEntry).where(ErrorEntry.id.in_(entries)).with_for_update()):
        entry.note = REMOVED if entry.note else None
        entry.completion_note = REMOVED if entry.completion_note else None
        entry.completion_reason = REMOVED if entry.completion_reason else None
        entry.facts = _without_persons(entry.facts)
    await anonymize_outbox(work.session, ErrorlogTables.outbox, event.reference_numbers)


async def _bodies(work: UnitOfWork, entries: Collection[UUID]) -> AsyncIterator[tuple[UUID, UUID, str | None, bytes]]:
    """Failed messages of these entries, and those of the client that name no purchase, a few at a time."""
    last: UUID | None = None
    while True:
        statement = (
            select(FailedMessage.id, ErrorEntry.id, ErrorEntry.reference_number, FailedMessage.body)
            .join(ErrorEntry, ErrorEntry.id == FailedMessage.error_id)
            .where(
                or_(
                    ErrorEntry.id.in_(entries),
                    ErrorEntry.client_id.in_((work.context.client_id, PLATFORM))
                    & ErrorEntry.reference_number.is_(None),
                )
            )
            .order_by(FailedMessage.id)
            .limit(_BODIES_AT_ONCE)
        )
        if last is not None:
            statement = statement.where(FailedMessage.id > last)
        rows = (await work.session.execute(statement)).all()
        for row in rows:
            message_id, entry_id, reference_number, body = row
            yield message_id, entry_id, reference_number, body
        if len(rows) < _BODIES_AT_ONCE:
            return
        last = rows[-1][0]


async def is_forgotten(work: UnitOfWork, subjects: Collection[str]) -> bool:
    """Whether one of these was anonymized: then what comes late is stored without personal data."""
    if not subjects:
        return False
    await lock_for_storing(work.session, *subjects)
    return (
        await work.session.scalar(select(Tombstone.subject).where(Tombstone.subject.in_(subjects)).limit(1)) is not None
    )


def without_persons(error: ErrorRaised) -> ErrorRaised:
    """A raised error without what may tell of a person."""
    note = REMOVED if error.note else None
    return error.model_copy(update={"note": note, "facts": _without_persons(error.facts)})


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
        named.add(_order(client_id, order))
    return subjects | {name for name in named if len(name) <= LONGEST_SUBJECT and name.isprintable()}


def _order(client_id: str, client_order_id: str) -> str:
    return f"{client_id}/{client_order_id}"


def _without_persons(facts: dict[str, Fact]) -> dict[str, Fact]:
    return {
        name: fact if name in _TELL_OF_NOBODY or not isinstance(fact, str) else REMOVED for name, fact in facts.items()
    }
