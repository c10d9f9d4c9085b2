"""The history of purchases, written in the same transaction as the change that an entry tells of."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import bindparam, select

from services.purchases.history.rules import anonymized_facts
from services.purchases.models import Facts, HistoryEntry, Purchase
from shared.contracts.purchases import HistoryEntryAdded
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork

_PURCHASE: Final = (
    select(Purchase.id, Purchase.anonymized_at)
    .where(Purchase.client_id == bindparam("client_id"), Purchase.reference_number == bindparam("reference_number"))
    .with_for_update(read=True, key_share=True)
)


@dataclass(frozen=True)
class Entry:
    """What happened to a purchase: what it is called, and the facts of it. Facts that are None are left out."""

    subject: str
    facts: Facts


class HasHistory(Protocol):
    """A purchase as far as its history must know it."""

    @property
    def id(self) -> UUID: ...
    @property
    def reference_number(self) -> str: ...
    @property
    def anonymized_at(self) -> datetime | None: ...


@dataclass(frozen=True)
class HeldPurchase:
    """A purchase that is locked until an entry about it is committed."""

    id: UUID
    reference_number: str
    anonymized_at: datetime | None


async def hold_purchase(work: UnitOfWork, reference_number: str) -> HasHistory | None:
    """The purchase of this number, held so that nobody anonymizes it before the entry is there."""
    client_id = work.context.client_id
    locked = work.locked(Purchase, (client_id, reference_number, None))
    if locked is not None:
        return locked
    address = {"client_id": client_id, "reference_number": reference_number}
    found = (await work.session.execute(_PURCHASE, address)).one_or_none()
    return HeldPurchase(found.id, reference_number, found.anonymized_at) if found is not None else None


def about(work: UnitOfWork, purchase: HasHistory) -> UnitOfWork:
    """The piece of work as it may be told with this purchase: without the words of whoever wants it, if the purchase
    is anonymized. docs/domain.md, "Removing personal data"."""
    return work.without_reason() if purchase.anonymized_at is not None else work


async def add_entry(work: UnitOfWork, purchase: HasHistory, entry: Entry, *, at: datetime | None = None) -> None:
    """Write an automatic entry, which nothing in the same transaction reads, and tell of it.

    The purchase's version stays: nothing that decides has changed. The reason that somebody gave is kept as the fact
    `reason_given`. Nothing personal is kept of a purchase that is anonymized.
    """
    at = at or datetime.now(UTC)
    work = about(work, purchase)
    facts = entry.facts | {"reason_given": work.context.reason}
    if purchase.anonymized_at is not None:
        facts = anonymized_facts(facts)
    row: dict[str, Any] = {
        "id": new_id(),
        "purchase_id": purchase.id,
        "at": at,
        "actor": work.context.actor,
        "is_manual": False,
        "subject": entry.subject,
        "facts": {name: fact for name, fact in facts.items() if fact is not None},
        "correlation_id": work.context.correlation_id,
    }
    await work.publish(
        HistoryEntryAdded(
            entry_id=row["id"],
            purchase_id=purchase.id,
            reference_number=purchase.reference_number,
            at=at,
            is_manual=False,
            subject=entry.subject,
        ),
        order_key=purchase.id,
        subject=purchase.reference_number,
    )
    work.insert_later(HistoryEntry.__table__, row)


async def anonymize_entries(work: UnitOfWork, purchase_ids: Iterable[UUID]) -> None:
    """Take out of the history of these purchases what a person may have written, or what tells of one."""
    await work.insert_now()
    entries = await work.session.scalars(select(HistoryEntry).where(HistoryEntry.purchase_id.in_(purchase_ids)))
    for entry in entries:
        entry.facts = anonymized_facts(entry.facts)
