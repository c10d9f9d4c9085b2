"""Changing the contacts of a customer. Rules: docs/domain.md, "Contacts of a customer"."""

from collections.abc import Sequence

from services.customers.contact.rules import check_add_contact, check_complete, check_merge_contacts, kind_of
from services.customers.contact.store import add_contact as add_contact_row
from services.customers.contact.store import take_roles, unpaid_purchases
from services.customers.customer.rules import check_changeable
from services.customers.customer.store import close_change, index_contacts, lock_customer
from services.customers.identity.rules import identity_of
from services.customers.identity.store import claim_identity, lock_identities
from services.customers.models import EMAIL_AND_NAME, ContactRow, Customer
from shared.contracts.customers import (
    AddContact,
    ContactDetails,
    ContactUpdated,
    CustomerChanged,
    CustomerUpdated,
    MergeContacts,
    UpdateContact,
)
from shared.contracts.purchases import Contact, ContactRole, UpdatePurchaseContact
from shared.contracts.refusals import Refused
from shared.messaging.unit_of_work import UnitOfWork


async def add_contact(work: UnitOfWork, command: AddContact) -> CustomerChanged:
    """The role has a contact of its own from now on; the others go on sharing theirs.

    Raises `customer_not_found`, `version_conflict`, `contact_incomplete`, `billing_contact_exists`,
    `role_has_own_contact`, and what `customers.contact.add` in the profile says.
    """
    role = command.role
    if role is ContactRole.BILLING:
        raise Refused("billing_contact_exists", "Every customer has a billing contact; change it instead.")
    fields = command.contact.model_dump(mode="json", exclude_none=True)
    check_complete([role], fields)
    customer = await lock_customer(
        work, command.customer_id, expected_version=command.expected_version, check=check_add_contact
    )
    if customer.contact(role).roles == (role,):
        raise Refused("role_has_own_contact", "The role has a contact of its own; change it.", role=role.value)
    await take_roles(work, customer, [role])
    add_contact_row(work, customer, role, fields)
    return await _close(work, customer, "contact.added", [role])


async def update_contact(work: UnitOfWork, command: UpdateContact) -> ContactUpdated:
    """The contact in the role says something else, for every role that shares it.

    With `update_unpaid_purchases` the purchases that are not paid follow; issued documents never change.
    Raises `customer_not_found`, `version_conflict`, `contact_incomplete`, `contact_incomplete_for_purchases`,
    and what `contact.update` in the profile says.
    """
    customer = await lock_customer(
        work, command.customer_id, expected_version=command.expected_version, check=check_changeable
    )
    contact = customer.contact(command.role)
    fields = command.contact.model_dump(mode="json", exclude_none=True)
    check_complete(contact.roles, fields)
    unpaid = await unpaid_purchases(work, customer) if command.update_unpaid_purchases else ()
    await _update_purchases(work, unpaid, contact.roles, command.contact)
    contact.fields = fields
    if ContactRole.BILLING in contact.roles:
        await _take_over_billing(work, customer, contact)
    changed = await _close(work, customer, "contact.updated", contact.roles)
    return ContactUpdated(**dict(changed), purchases_updated=len(unpaid))


async def merge_contacts(work: UnitOfWork, command: MergeContacts) -> CustomerChanged:
    """The roles share the contact of `into`; contacts that have no role any more are kept for the record.

    Raises `customer_not_found`, `version_conflict`, `contacts_already_shared`, `contact_incomplete`.
    """
    customer = await lock_customer(
        work, command.customer_id, expected_version=command.expected_version, check=check_merge_contacts
    )
    target = customer.contact(command.into)
    if all(customer.contact(role) is target for role in command.roles):
        raise Refused("contacts_already_shared", "These roles share one contact already.")
    check_complete(command.roles, target.fields)
    await take_roles(work, customer, command.roles)
    for role in command.roles:
        target.set_role(role, has=True)
    if ContactRole.BILLING in command.roles:
        customer.kind = kind_of(target.fields)
    return await _close(work, customer, "contacts.merged", (command.into, *command.roles))


async def _take_over_billing(work: UnitOfWork, customer: Customer, contact: ContactRow) -> None:
    """What the customer is, and what it is known by, follows the billing contact."""
    customer.kind = kind_of(contact.fields)
    if identity := identity_of(contact.fields):
        await lock_identities(work, identity)
        await claim_identity(work, customer, EMAIL_AND_NAME, identity)


async def _update_purchases(
    work: UnitOfWork, reference_numbers: Sequence[str], roles: tuple[ContactRole, ...], contact: ContactDetails
) -> None:
    if reference_numbers and (contact.email is None or contact.country is None):
        raise Refused(
            "contact_incomplete_for_purchases", "The contact of a purchase needs an e-mail address and a country."
        )
    known = contact.model_dump(include=set(Contact.model_fields), exclude_none=True)
    for reference_number in reference_numbers:
        await work.command(
            UpdatePurchaseContact(reference_number=reference_number, roles=roles, contact=Contact(**known)),
            order_key=reference_number,
        )


async def _close(work: UnitOfWork, customer: Customer, change: str, roles: Sequence[ContactRole]) -> CustomerChanged:
    await index_contacts(work, customer)
    return await close_change(
        work,
        customer,
        change,
        {"roles": ", ".join(role.value for role in roles)},
        events=lambda customer: [
            CustomerUpdated(customer_id=customer.id, version=customer.version, change=change, roles=tuple(roles))
        ],
    )
