"""The rows of the error log: adding, counting, locking and changing them, and what every change ends with."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from services.errorlog.models import IS_OPEN, ErrorEntry, FailedMessage, Tombstone
from services.errorlog.rules import PLATFORM
from shared.contracts.errorlog import ErrorChanged, ErrorState
from shared.contracts.message import Event
from shared.contracts.refusals import Refused
from shared.ids import new_id
from shared.messaging.anonymization import anonymized_body, lock_for_removing, lock_for_storing, without_reason
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import touch

_BODIES_AT_ONCE: Final = 200


@dataclass(frozen=True)
class LoggedEntry:
    """Where a trouble stands now."""

    error_id: UUID
    is_new: bool
    occurrences: int


@dataclass(frozen=True)
class FailedBody:
    """What a failed message said, and the entry it stands at."""

    message_id: UUID
    entry_id: UUID
    reference_number: str | None
    body: bytes


async def lock_entry(work: UnitOfWork, error_id: UUID) -> ErrorEntry:
    """An entry of this client, locked until the transaction ends. Raises Refused `error_not_found`."""
    entry = await work.session.scalar(
        select(ErrorEntry)
        .where(ErrorEntry.id == error_id, ErrorEntry.client_id == work.context.client_id)
        .with_for_update()
    )
    if entry is None:
        raise error_not_found(error_id)
    return entry


async def is_about_forgotten(work: UnitOfWork, error_id: UUID) -> bool:
    """Whether an entry of this client is about a purchase that is anonymized: nothing personal is kept with it.

    To be asked before the entry is locked: whoever removes personal data locks in this order too.
    """
    reference_number = await work.session.scalar(
        select(ErrorEntry.reference_number).where(
            ErrorEntry.id == error_id, ErrorEntry.client_id == work.context.client_id
        )
    )
    return reference_number is not None and await is_forgotten(work, {reference_number})


def error_not_found(error_id: UUID) -> Refused:
    """The refusal for an entry that is not there, or is another client's: the two look the same."""
    return Refused("error_not_found", "There is no such error.", error_id=str(error_id))


async def close_change(
    work: UnitOfWork, entry: ErrorEntry, state: ErrorState, *, at: datetime, events: Iterable[Event]
) -> ErrorChanged:
    """End a change of an entry: its state, new version, who and when, and what is told of it. Returns the reply."""
    entry.state = state.value
    touch(work, entry, at=at)
    for event in events:
        await work.publish(event, order_key=entry.id, subject=entry.reference_number)
    return ErrorChanged(error_id=entry.id, state=state, version=entry.version)


async def add_or_count(work: UnitOfWork, entry: dict[str, Any], *, seen: datetime, actor: str) -> LoggedEntry:
    """Insert the entry, or count the repeat in one statement: several instances may see the same trouble at once."""
    entry_id = new_id()
    statement = insert(ErrorEntry).values(
        id=entry_id, first_seen=seen, last_seen=seen, created_by=actor, changed_by=actor, **entry
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
    return LoggedEntry(logged_id, logged_id == entry_id, occurrences)


async def is_kept(work: UnitOfWork, death: str) -> bool:
    """Whether this very death of a message is in the log already."""
    return await work.session.scalar(select(FailedMessage.id).where(FailedMessage.death == death)) is not None


def add_message(work: UnitOfWork, error_id: UUID, death: str, message: dict[str, Any]) -> None:
    """Keep a failed message with its entry."""
    work.session.add(FailedMessage(error_id=error_id, death=death, **message))


async def is_forgotten(work: UnitOfWork, subjects: Collection[str]) -> bool:
    """Whether one of these was anonymized: then what comes late is stored without personal data."""
    if not subjects:
        return False
    await lock_for_storing(work.session, *subjects)
    return (
        await work.session.scalar(select(Tombstone.subject).where(Tombstone.subject.in_(subjects)).limit(1)) is not None
    )


async def forget_subjects(work: UnitOfWork, subjects: Sequence[str]) -> None:
    """From now on nothing personal is stored about these; whoever is just storing something is waited for."""
    await lock_for_removing(work.session, *subjects)
    await work.session.execute(
        insert(Tombstone).on_conflict_do_nothing(), [{"subject": subject} for subject in subjects]
    )


async def entries_of(work: UnitOfWork, reference_numbers: Collection[str]) -> set[UUID]:
    """The entries of this client about these purchases."""
    found = select(ErrorEntry.id).where(
        ErrorEntry.client_id == work.context.client_id, ErrorEntry.reference_number.in_(reference_numbers)
    )
    return set(await work.session.scalars(found))


async def read_bodies(work: UnitOfWork, entries: Collection[UUID]) -> AsyncIterator[FailedBody]:
    """Failed messages of these entries, and those of the client that name no purchase, a few at a time.

    `entries` may grow meanwhile.
    """
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
        rows = [FailedBody(*row) for row in await work.session.execute(statement)]
        for failed in rows:
            yield failed
        if len(rows) < _BODIES_AT_ONCE:
            return
        last = rows[-1].message_id


async def anonymize_message(work: UnitOfWork, failed: FailedBody) -> None:
    """Of a failed message only its form stays."""
    await work.session.execute(
        update(FailedMessage)
        .where(FailedMessage.id == failed.message_id)
        .values(body=anonymized_body(failed.body), headers=without_reason(FailedMessage.headers))
    )


async def lock_entries(work: UnitOfWork, entries: Collection[UUID]) -> Sequence[ErrorEntry]:
    """These entries, locked until the transaction ends."""
    return (await work.session.scalars(select(ErrorEntry).where(ErrorEntry.id.in_(entries)).with_for_update())).all()
