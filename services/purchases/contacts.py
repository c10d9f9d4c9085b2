"""Contacts of a purchase that is not paid follow those of its customer."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, insert

from services.purchases import history
from services.purchases.contact_rules import check_contacts_changeable
from services.purchases.models import Purchase, SearchKey
from services.purchases.purchases import changed, contact, lock_purchase, receipt, refusing
from services.purchases.search_rules import keys_of
from shared.contracts.purchases import ContactRole, PurchaseChanged, UpdatePurchaseContact
from shared.messaging.unit_of_work import UnitOfWork


async def update_contact(work: UnitOfWork, command: UpdatePurchaseContact) -> PurchaseChanged:
    """The purchase is invoiced and delivered to the new contact; documents that were issued do not change.

    Refuses `purchase_not_found`, `version_conflict`, `purchase_already_paid`, `purchase_anonymized`.
    Rule: docs/domain.md, "Contacts of a customer".
    """
    purchase = await lock_purchase(work, command)
    with refusing():
        check_contacts_changeable(purchase.status, purchase.paid, is_anonymized=purchase.anonymized_at is not None)
    fields = command.contact.model_dump(exclude_none=True)
    for role in command.roles:
        setattr(purchase, column_of(role), fields)
    await index_contacts(work, purchase)
    await changed(work, purchase, purchase.status)
    roles = ", ".join(role.value for role in command.roles)
    await history.note_change(work, purchase, "contact.updated", {"roles": roles})
    return receipt(purchase)


async def index_contacts(work: UnitOfWork, purchase: Purchase) -> None:
    """Find the purchase by the contacts that it has now."""
    contacts = [contact(snapshot) for snapshot in contacts_of(purchase)]
    keys = keys_of(contacts, purchase.client_order_id, purchase.card_last4)
    await work.session.execute(delete(SearchKey).where(SearchKey.purchase_id == purchase.id))
    await work.session.execute(
        insert(SearchKey),
        [
            {
                "purchase_id": purchase.id,
                "client_id": purchase.client_id,
                "ordered_at": purchase.ordered_at,
                "kind": key.kind,
                "term": key.term,
            }
            for key in keys
        ],
    )


def column_of(role: ContactRole) -> str:
    """Where the contact of a role stands."""
    return f"{role.value}_contact"


def contacts_of(purchase: Purchase) -> Iterable[dict[str, Any]]:
    """The stored contacts, one for each role."""
    return [getattr(purchase, column_of(role)) for role in ContactRole]
