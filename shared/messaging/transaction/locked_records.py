"""Records that a transaction has locked for all its messages, so that no use case locks and reads one again."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import SessionTransaction

_KEY: Final = "aftersale.locked_records"
R = TypeVar("R")


@dataclass(frozen=True)
class _Locked:
    transaction: SessionTransaction
    records: dict[tuple[type, Hashable], object] = field(default_factory=dict)
    """Held here for as long as the session lives: by itself it forgets a record that has no unwritten change."""


def keep_locked(session: AsyncSession, records: Mapping[Hashable, object]) -> None:
    """Remember records that this transaction has just locked and read, each under the address that messages give it.

    What is read before the lock may be old: the statement that locks reads, with `populate_existing`.
    """
    transaction = session.sync_session.get_transaction()
    if transaction is None:
        raise ValueError("nothing stays locked without a transaction")
    found = _of(session)
    if found is None:
        found = session.info[_KEY] = _Locked(transaction)
    found.records.update({(type(record), address): record for address, record in records.items()})


def locked(session: AsyncSession, model: type[R], address: Hashable) -> R | None:
    """The record as it stands now, if this very transaction has locked it; None if the caller must lock it itself."""
    found = _of(session)
    record = found.records.get((model, address)) if found is not None else None
    return record if isinstance(record, model) else None


def _of(session: AsyncSession) -> _Locked | None:
    """What is locked now. A transaction that has ended has left its locks, and others may have changed the records."""
    found: _Locked | None = session.info.get(_KEY)
    current = session.sync_session.get_transaction()
    return found if found is not None and found.transaction is current else None
