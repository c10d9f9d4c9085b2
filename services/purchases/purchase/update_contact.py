"""Contacts of a purchase that is not paid follow those of its customer."""

from services.purchases.history.store import Entry
from services.purchases.models import Purchase, contact_column
from services.purchases.purchase.messages import contact, reply
from services.purchases.purchase.rules import check_contacts_changeable
from services.purchases.purchase.store import close_change, lock_purchase, replace_search_keys
from services.purchases.search_rules import keys_of
from shared.contracts.purchases import ContactRole, PurchaseChanged, UpdatePurchaseContact
from shared.messaging.unit_of_work import UnitOfWork
from shared.search.keywords import Key


async def update_contact(work: UnitOfWork, command: UpdatePurchaseContact) -> PurchaseChanged:
    """The purchase is invoiced and delivered to the new contact; documents that were issued do not change.

    Refuses `purchase_not_found`, `version_conflict`, `purchase_already_paid`, `purchase_anonymized`.
    Rule: docs/domain.md, "Contacts of a customer".
    """
    purchase = await lock_purchase(work, command)
    check_contacts_changeable(purchase.status, purchase.paid, is_anonymized=purchase.anonymized_at is not None)
    fields = command.contact.model_dump(exclude_none=True)
    for role in command.roles:
        setattr(purchase, contact_column(role), fields)
    await replace_search_keys(work, purchase, _keys(purchase))
    roles = ", ".join(role.value for role in command.roles)
    await close_change(work, purchase, purchase.status, history=Entry("contact.updated", {"roles": roles}))
    return reply(purchase)


def _keys(purchase: Purchase) -> frozenset[Key]:
    """The terms of all the contacts that the purchase has now."""
    contacts = [contact(getattr(purchase, contact_column(role))) for role in ContactRole]
    return keys_of(contacts, purchase.client_order_id, purchase.card_last4)
