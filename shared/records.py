"""What the records of every service have in common: whose they are, their version, and the pages of their lists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import ColumnElement, Enum

from shared.contracts.refusals import Refused
from shared.contracts.values import ALL_CLIENTS
from shared.messaging.pagination import ListQuery, cursor_after
from shared.messaging.unit_of_work import UnitOfWork

R = TypeVar("R")
V = TypeVar("V", bound=StrEnum)


class Versioned(Protocol):
    """A record that people change."""

    version: int
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True)
class Page(Generic[R]):
    """Some rows of a list, and where the next ones begin."""

    rows: Sequence[R]
    next_cursor: str | None


def visible_to(client_id: str, column: Any) -> tuple[ColumnElement[bool], ...]:
    """The condition that keeps one client's records from another; none for who asks for all clients."""
    return () if client_id == ALL_CLIENTS else (column == client_id,)


def check_version(record: Versioned | None, expected: int | None, **facts: str | int | None) -> None:
    """Refuse a change that was decided on an older state of the record, saying who changed it and when; or on any
    state of a record that is not there.

    Raises Refused `version_conflict`. `facts` are those that a caller needs besides, such as the record's state.
    """
    if expected is None:
        return
    if record is None:
        raise Refused("version_conflict", "There is no such record yet.", version=None)
    if expected != record.version:
        raise Refused(
            "version_conflict",
            "Somebody has changed this since it was read.",
            expected_version=expected,
            version=record.version,
            changed_by=record.changed_by,
            changed_at=record.changed_at.isoformat(),
            errors=(),
            **facts,
        )


def touch(work: UnitOfWork, record: Versioned, *, at: datetime | None = None) -> None:
    """A new version of the record, by whoever wants this piece of work."""
    record.version += 1
    record.changed_by = work.context.actor
    record.changed_at = at or datetime.now(UTC)


def enum_column(values: type[V], name: str) -> Enum:
    """The type of a column that holds one of these values: as text, checked by the database."""
    return Enum(
        values,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=40,
        values_callable=lambda members: [member.value for member in members],
    )


def page(found: Sequence[R], position: Callable[[R], bytes], work: UnitOfWork, query: ListQuery) -> Page[R]:
    """The page that a query asked for, of rows that were read up to one beyond its limit.

    `position` is where a row stands in the order of the list; the next page begins behind the last one shown.
    """
    shown = found[: query.limit]
    more = len(found) > len(shown)
    return Page(shown, cursor_after(position(shown[-1]), work, query) if more else None)
