"""Removing the personal data of purchases when the customers service says so; docs/domain.md, "Removing personal data".

The purchase row is the tombstone: it stays, marked, and late news find the mark.
"""

from datetime import UTC, datetime

from services.purchases.history.store import anonymize_entries
from services.purchases.models import Purchase, PurchasesTables, contact_column
from services.purchases.purchase.store import close_change, delete_search_keys, lock_to_anonymize
from services.purchases.refund.store import anonymize_refunds
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.personal import anonymized
from shared.contracts.purchases import ContactRole
from shared.messaging.anonymization import anonymize_outbox
from shared.messaging.unit_of_work import UnitOfWork


async def anonymize_purchases(work: UnitOfWork, event: CustomerAnonymized) -> None:
    """Nobody learns any more who bought; the order, its money and what happened to it stay.

    Names and addresses become `XXX`, the e-mail address a placeholder, the country stays. A purchase is then found by
    its reference number and the seller's order number only.
    """
    purchases = await lock_to_anonymize(work, event.reference_numbers)
    for purchase in purchases:
        _remove_person(purchase)
        await close_change(work, purchase, purchase.status)
    ids = [purchase.id for purchase in purchases]
    await delete_search_keys(work, ids)
    await anonymize_refunds(work, ids)
    await anonymize_entries(work, ids)
    await anonymize_outbox(work.session, PurchasesTables.outbox, event.reference_numbers, records=list(map(str, ids)))


def _remove_person(purchase: Purchase) -> None:
    for role in ContactRole:
        setattr(purchase, contact_column(role), anonymized(getattr(purchase, contact_column(role))))
    purchase.customer_reference = purchase.card_last4 = None
    purchase.anonymized_at = datetime.now(UTC)
