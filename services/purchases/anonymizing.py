"""Removing the personal data of purchases when the customers service says so; docs/domain.md, "Removing personal data".

The purchase row is the tombstone: it stays, marked, and late news find the mark.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import delete, select, update

from services.purchases.contact_rules import anonymized_facts
from services.purchases.contacts import column_of
from services.purchases.models import HistoryEntry, Purchase, PurchasesTables, Refund, SearchKey
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.personal import REMOVED, anonymized
from shared.contracts.purchases import ContactRole
from shared.messaging.anonymization import anonymize_outbox
from shared.messaging.unit_of_work import UnitOfWork


async def anonymize_purchases(work: UnitOfWork, event: CustomerAnonymized) -> None:
    """Nobody learns any more who bought; the order, its money and what happened to it stay.

    Names and addresses become `XXX`, the e-mail address a placeholder, the country stays. A purchase is then found by
    its reference number and the seller's order number only.
    """
    purchases = (
        await work.session.scalars(
            select(Purchase)
            .where(Purchase.client_id == work.context.client_id, Purchase.reference_number.in_(event.reference_numbers))
            .order_by(Purchase.id)
            .with_for_update(of=Purchase)
            .execution_options(populate_existing=True)
        )
    ).all()
    ids = [purchase.id for purchase in purchases]
    for purchase in purchases:
        for role in ContactRole:
            setattr(purchase, column_of(role), anonymized(getattr(purchase, column_of(role))))
        purchase.customer_reference = purchase.card_last4 = None
        purchase.anonymized_at = purchase.changed_at = datetime.now(UTC)
        purchase.changed_by = work.context.actor
        purchase.version += 1
    await work.session.execute(delete(SearchKey).where(SearchKey.purchase_id.in_(ids)))
    await work.session.execute(
        update(Refund).where(Refund.purchase_id.in_(ids), Refund.remark.is_not(None)).values(remark=REMOVED)
    )
    await work.session.execute(update(Refund).where(Refund.purchase_id.in_(ids)).values(reason_given=None))
    await _anonymize_history(work, ids)
    await anonymize_outbox(work.session, PurchasesTables.outbox, event.reference_numbers, records=list(map(str, ids)))


async def _anonymize_history(work: UnitOfWork, purchase_ids: Iterable[UUID]) -> None:
    await work.insert_now()
    entries = await work.session.scalars(select(HistoryEntry).where(HistoryEntry.purchase_id.in_(purchase_ids)))
    for entry in entries:
        entry.facts = anonymized_facts(entry.facts)
