"""Making customers and changing their contacts. Rules: docs/domain.md, "Contacts of a customer"."""

from typing import Any

from sqlalchemy import select

from services.customers.customer.rules import Action, identity_of, kind_of, missing_fields
from services.customers.customer.store import (
    changed,
    claim,
    contact_of,
    family,
    index_contacts,
    lock_for,
    receipt,
    roles_of,
    tell_update,
)
from services.customers.identity.store import add_customer, lock_identities, match
from services.customers.models import EMAIL_AND_NAME, ContactRow, Customer, CustomerPurchase
from shared.contracts.customers import (
    AddContact,
    ContactDetails,
    ContactUpdated,
    CreateCustomer,
    CustomerChanged,
    MergeContacts,
    UpdateContact,
)
from shared.contracts.purchases import UNPAID, Contact, ContactRole, UpdatePurchaseContact
from shared.contracts.refusals import Refused
from shared.contracts.values import FieldError
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork


async def create_customer(work: UnitOfWork, command: CreateCustomer) -> CustomerChanged:
    """A customer that has not bought yet. Raises `contact_incomplete`, `customer_exists`."""
    given = {
        ContactRole.BILLING: command.billing_contact,
        ContactRole.DELIVERY: command.delivery_contact or command.billing_contact,
        ContactRole.LICENSEE: command.licensee_contact or command.billing_contact,
    }
    by_role = {role: _complete([role], contact) for role, contact in given.items()}
    identity = identity_of(by_role[ContactRole.BILLING])
    await lock_identities(work, command.customer_reference, identity)
    same = await match(work, command.customer_reference, identity)
    if same is not None:
        raise Refused("customer_exists", "The client has this customer already.", customer_id=str(same.id))
    customer = await add_customer(
        work, customer_reference=command.customer_reference, currency=command.currency, by_role=by_role
    )
    return CustomerChanged(customer_id=customer.id, version=1)


async def add_contact(work: UnitOfWork, command: AddContact) -> CustomerChanged:
    """The role has a contact of its own from now on; the others go on sharing theirs.

    Raises `customer_not_found`, `version_conflict`, `contact_incomplete`, `billing_contact_exists`,
    `role_has_own_contact`, and what `customers.contact.add` in the profile says.
    """
    if command.role is ContactRole.BILLING:
        raise Refused("billing_contact_exists", "Every customer has a billing contact; change it instead.")
    fields = _complete([command.role], command.contact)
    customer = await lock_for(work, Action.ADD_CONTACT, command.customer_id, command.expected_version)
    shared = contact_of(customer, command.role)
    if roles_of(shared) == (command.role,):
        raise Refused("role_has_own_contact", "The role has a contact of its own; change it.", role=command.role.value)
    setattr(shared, f"is_{command.role.value}", False)
    await work.session.flush()
    customer.contacts.append(_new_contact(work, customer, fields, command.role))
    await _close(work, customer, "contact.added", (command.role,))
    return receipt(customer)


async def update_contact(work: UnitOfWork, command: UpdateContact) -> ContactUpdated:
    """The contact in the role says something else, for every role that shares it.

    With `update_unpaid_purchases` the purchases that are not paid follow; issued documents never change.
    Raises `customer_not_found`, `version_conflict`, `contact_incomplete`, `contact_incomplete_for_purchases`,
    and what `contact.update` in the profile says.
    """
    customer = await lock_for(work, Action.UPDATE_CONTACT, command.customer_id, command.expected_version)
    contact = contact_of(customer, command.role)
    roles = roles_of(contact)
    fields = _complete(roles, command.contact)
    followers = await _unpaid(work, customer) if command.update_unpaid_purchases else []
    if followers:
        await _update_purchases(work, followers, roles, command.contact)
    contact.fields = fields
    if ContactRole.BILLING in roles:
        customer.kind = kind_of(contact.fields)
        if identity := identity_of(contact.fields):
            await lock_identities(work, identity)
            await claim(work, customer, EMAIL_AND_NAME, identity)
    await _close(work, customer, "contact.updated", roles)
    return ContactUpdated(**dict(receipt(customer)), purchases_updated=len(followers))


async def merge_contacts(work: UnitOfWork, command: MergeContacts) -> CustomerChanged:
    """The roles share the contact of `into`; contacts that have no role any more are kept for the record.

    Raises `customer_not_found`, `version_conflict`, `contacts_already_shared`, `contact_incomplete`.
    """
    customer = await lock_for(work, Action.MERGE_CONTACTS, command.customer_id, command.expected_version)
    target = contact_of(customer, command.into)
    given_up = {role: contact_of(customer, role) for role in command.roles}
    if all(contact is target for contact in given_up.values()):
        raise Refused("contacts_already_shared", "These roles share one contact already.")
    _check(command.roles, target.fields)
    for role, contact in given_up.items():
        setattr(contact, f"is_{role.value}", False)
    await work.session.flush()
    for role in given_up:
        setattr(target, f"is_{role.value}", True)
    if ContactRole.BILLING in given_up:
        customer.kind = kind_of(target.fields)
    await _close(work, customer, "contacts.merged", (command.into, *command.roles))
    return receipt(customer)


async def _close(work: UnitOfWork, customer: Customer, change: str, roles: tuple[ContactRole, ...]) -> None:
    await work.session.flush()
    await index_contacts(work, customer)
    await changed(work, customer, change, {"roles": ", ".join(role.value for role in roles)})
    await tell_update(work, customer, change, roles)


def _new_contact(work: UnitOfWork, customer: Customer, fields: dict[str, Any], role: ContactRole) -> ContactRow:
    return ContactRow(
        id=new_id(),
        customer_id=customer.id,
        fields=fields,
        created_by=work.context.actor,
        is_billing=role is ContactRole.BILLING,
        is_delivery=role is ContactRole.DELIVERY,
        is_licensee=role is ContactRole.LICENSEE,
    )


def _complete(roles: tuple[ContactRole, ...] | list[ContactRole], contact: ContactDetails) -> dict[str, Any]:
    """The fields of a contact, if it has what the roles need."""
    fields = contact.model_dump(mode="json", exclude_none=True)
    _check(roles, fields)
    return fields


def _check(roles: tuple[ContactRole, ...] | list[ContactRole], fields: dict[str, Any]) -> None:
    lacking = {(name, role) for role in roles for name in missing_fields(role, fields)}
    if lacking:
        errors = tuple(
            FieldError(path=f"contact.{name}", message=f"is required of a {role.value} contact")
            for name, role in sorted(lacking)
        )
        raise Refused("contact_incomplete", "The contact lacks what its role needs.", errors=errors)


async def _unpaid(work: UnitOfWork, customer: Customer) -> list[str]:
    statement = (
        select(CustomerPurchase.reference_number)
        .where(CustomerPurchase.customer_id.in_(family(customer.id)), CustomerPurchase.status.in_(UNPAID))
        .order_by(CustomerPurchase.ordered_at)
    )
    return list(await work.session.scalars(statement))


async def _update_purchases(
    work: UnitOfWork, reference_numbers: list[str], roles: tuple[ContactRole, ...], contact: ContactDetails
) -> None:
    if contact.email is None or contact.country is None:
        raise Refused(
            "contact_incomplete_for_purchases", "The contact of a purchase needs an e-mail address and a country."
        )
    known = contact.model_dump(include=set(Contact.model_fields), exclude_none=True)
    for reference_number in reference_numbers:
        await work.command(
            UpdatePurchaseContact(reference_number=reference_number, roles=roles, contact=Contact(**known)),
            order_key=reference_number,
        )
