"""What happened to a purchase, written in the same transaction as the change it tells of."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.purchases.models import Facts, HistoryEntry, Purchase
from shared.contracts.purchases import HistoryEntryAdded
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork


async def note_change(work: UnitOfWork, purchase: Purchase, subject: str, facts: Facts) -> None:
    """Write an automatic entry about a change of the purchase."""
    gone = purchase.anonymized_at is not None
    await note(work, purchase.id, purchase.reference_number, subject, facts, is_anonymized=gone)


async def note(
    work: UnitOfWork,
    purchase_id: UUID,
    reference_number: str,
    subject: str,
    facts: Facts,
    *,
    at: datetime | None = None,
    is_anonymized: bool = False,
) -> None:
    """Write an automatic entry, which nothing in the same transaction reads, and tell of it.

    The purchase's version stays: nothing that decides has changed. The reason that somebody gave is kept as the fact
    `reason_given`, unless nothing personal may be stored any more.
    """
    at = at or datetime.now(UTC)
    facts = facts | {"reason_given": None if is_anonymized else work.context.reason}
    entry: dict[str, Any] = {
        "id": new_id(),
        "purchase_id": purchase_id,
        "at": at,
        "actor": work.context.actor,
        "is_manual": False,
        "subject": subject,
        "facts": {name: fact for name, fact in facts.items() if fact is not None},
        "correlation_id": work.context.correlation_id,
    }
    await work.publish(
        HistoryEntryAdded(
            entry_id=entry["id"],
            purchase_id=purchase_id,
            reference_number=reference_number,
            at=at,
            is_manual=False,
            subject=subject,
        ),
        order_key=purchase_id,
        subject=reference_number,
    )
    work.insert_later(HistoryEntry.__table__, entry)
