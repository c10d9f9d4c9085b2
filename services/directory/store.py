"""The directory's records: locking, adding and changing them, and what every change ends with."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import selectinload

from services.directory.models import (
    Announcement,
    AuditEntry,
    Client,
    Department,
    DirectoryTables,
    Grant,
    Office,
    User,
)
from services.directory.rules import difference
from shared.contracts.directory import (
    PLATFORM,
    AssignRoles,
    ConfigureClient,
    SaveDepartment,
    SaveOffice,
    SaveUser,
    UserChanged,
)
from shared.contracts.refusals import Refused
from shared.database import create_engine, create_sessions
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork, open_unit_of_work
from shared.records import check_version, touch
from shared.staff import copies

Record = Client | User | Office | Department
R = TypeVar("R", bound=Client | User | Office | Department)
P = TypeVar("P", bound=Office | Department)
Change = ConfigureClient | SaveUser | AssignRoles | SaveOffice | SaveDepartment
"""The commands that change a record."""


def own_context() -> MessageContext:
    """Where the directory's own work comes from."""
    return MessageContext(client_id=PLATFORM, actor="service:directory", message_id=None, correlation_id=str(new_id()))


@asynccontextmanager
async def own_work(url: str) -> AsyncIterator[UnitOfWork]:
    """A piece of work of the directory itself on the database at this URL, committed at the end of the block."""
    engine = create_engine(url, service="directory", pool_size=1)
    try:
        outbox = DirectoryTables.outbox
        async with open_unit_of_work(
            create_sessions(engine), service="directory", outbox=outbox, context=own_context()
        ) as work:
            yield work
    finally:
        await engine.dispose()


def for_client(work: UnitOfWork, client_id: str) -> UnitOfWork:
    """The same piece of work, done for this client."""
    return replace(work, context=replace(work.context, client_id=client_id))


async def check_client(work: UnitOfWork) -> None:
    """Raises Refused `client_not_found` unless the client of this piece of work is known, or is the platform."""
    client_id = work.context.client_id
    if client_id != PLATFORM and await work.session.get(Client, client_id) is None:
        raise client_not_found(client_id)


def client_not_found(client_id: str) -> Refused:
    """The refusal for a client that nobody has configured."""
    return Refused("client_not_found", "There is no such client.", client_id=client_id)


async def is_for_platform(work: UnitOfWork) -> bool:
    """Whether the platform itself wants this: its staff, or a system that acts in its own name."""
    kind, _, name = work.context.actor.partition(":")
    if kind == "service":
        return True
    return await work.session.scalar(select(User.client_id).where(User.name == name)) == PLATFORM


async def lock_client(work: UnitOfWork) -> Client | None:
    """The client of this piece of work, locked until the transaction ends."""
    return await work.session.get(Client, work.context.client_id, with_for_update=True)


async def lock_user(work: UnitOfWork, name: str) -> User | None:
    """The user with all roles, locked until the transaction ends."""
    statement = select(User).where(User.name == name).options(selectinload(User.grants)).with_for_update(of=User)
    return (await work.session.scalars(statement)).one_or_none()


async def lock_place(work: UnitOfWork, model: type[P], place_id: str) -> P | None:
    """The office or department of this client, locked until the transaction ends."""
    return await work.session.get(model, (work.context.client_id, place_id), with_for_update=True)


async def find_place(work: UnitOfWork, model: type[P], place_id: str) -> P | None:
    """The office or department of this client."""
    return await work.session.get(model, (work.context.client_id, place_id))


async def save_record(
    work: UnitOfWork,
    record: R | None,
    command: Change,
    *,
    model: type[R],
    address: Mapping[str, Any],
    wanted: Mapping[str, Any],
) -> tuple[R, bool]:
    """The record says what is wanted; where there is none yet, it is made under this address.

    Returns it, and whether anything changed. Raises Refused `version_conflict`.
    """
    check_version(record, command.expected_version)
    if record is None:
        record = add_record(work, model, **address, **wanted)
        before = None
    else:
        before = {name: getattr(record, name) for name in wanted}
        if before == wanted:
            return record, False
        for name, value in wanted.items():
            setattr(record, name, value)
    await close_change(work, record, command, before=before, after=wanted)
    return record, True


def add_record(work: UnitOfWork, model: type[R], **values: Any) -> R:
    """A new record, in its first version."""
    actor = work.context.actor
    record = model(version=1, created_by=actor, changed_by=actor, **values)
    work.session.add(record)
    return record


def set_roles(user: User, client_id: str, roles: Iterable[str]) -> None:
    """The user has exactly these roles for this client."""
    wanted, known = set(roles), user.roles_for(client_id)
    user.grants = [grant for grant in user.grants if grant.client_id != client_id or grant.role in wanted] + [
        Grant(client_id=client_id, role=role) for role in sorted(wanted.difference(known))
    ]


async def close_change(
    work: UnitOfWork, record: Record, command: Change, *, before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> None:
    """End a change of a record: new version, who and when, a line in the audit trail, and what is told of it.

    `before` is None for a new record. Why it was changed: the reason in the command, else the one in the header of its
    message.
    """
    if before is not None:
        touch(work, record)
    _add_audit_entry(work, record, command, before, after)
    await work.session.flush()
    await publish_record(work, record)


def _add_audit_entry(
    work: UnitOfWork, record: Record, command: Change, before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> None:
    """Of what was there before, only the fields that are different now."""
    was, now = difference(before, after) if before is not None else (None, dict(after))
    work.session.add(
        AuditEntry(
            client_id=work.context.client_id,
            record_kind=record.record_kind.value,
            record_id=record.record_id,
            action=command.key,
            version=record.version,
            actor=work.context.actor,
            reason=command.reason or work.context.reason,
            before=was,
            after=now,
            message_id=work.context.message_id,
            correlation_id=work.context.correlation_id,
        )
    )


async def publish_record(work: UnitOfWork, record: Record) -> None:
    """Tell everybody how the record stands, and keep our own copy of a user, by which this service itself asks who
    may do what."""
    event = record.event()
    await work.publish(event, order_key=record.order_key, subject=record.record_id)
    if isinstance(event, UserChanged):
        await copies.save_user(work, DirectoryTables.staff, event)


async def begin_announcement(work: UnitOfWork, services: str, every: timedelta) -> bool:
    """Whether everything is to be published by this piece of work: it was not since `every`, or for other services."""
    now = (await work.session.execute(select(func.now()))).scalar_one()
    last = (await work.session.scalars(select(Announcement).with_for_update(skip_locked=True))).one_or_none()
    if last is None:
        # There is none yet, or another instance has it in hand. A second insert waits for the first and does nothing.
        if await work.session.scalar(select(func.count()).select_from(Announcement)):
            return False
        first = insert(Announcement).values(id=1, services=services, at=now).on_conflict_do_nothing()
        return (await work.session.execute(first.returning(Announcement.id))).first() is not None
    if last.services == services and now - last.at < every:
        return False
    last.services, last.at = services, now
    return True
