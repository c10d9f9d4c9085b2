"""New customers. Rule: docs/domain.md, "Customers"."""

from collections.abc import Mapping
from typing import Final

from services.customers.contact.rules import ContactFields, check_complete, kind_of, share_contacts
from services.customers.customer.store import insert_customer
from services.customers.identity.rules import identity_of
from services.customers.identity.store import KnownCustomer, find_customer, lock_identities
from services.customers.models import EMAIL_AND_NAME, REFERENCE
from shared.contracts.customers import CreateCustomer, CustomerChanged, CustomerCreated
from shared.contracts.purchases import ContactRole
from shared.contracts.refusals import Refused
from shared.messaging.unit_of_work import UnitOfWork

_FIRST_VERSION: Final = 1


async def create_customer(work: UnitOfWork, command: CreateCustomer) -> CustomerChanged:
    """A customer that has not bought yet. Raises Refused `contact_incomplete`, `customer_exists`."""
    contacts = {
        ContactRole.BILLING: command.billing_contact,
        ContactRole.DELIVERY: command.delivery_contact or command.billing_contact,
        ContactRole.LICENSEE: command.licensee_contact or command.billing_contact,
    }
    by_role = {role: contact.model_dump(mode="json", exclude_none=True) for role, contact in contacts.items()}
    for role, fields in by_role.items():
        check_complete([role], fields)
    identity = identity_of(by_role[ContactRole.BILLING])
    await lock_identities(work, command.customer_reference, identity)
    same = await find_customer(work, command.customer_reference, identity)
    if same is not None:
        raise Refused("customer_exists", "The client has this customer already.", customer_id=str(same.id))
    customer = await add_customer(
        work, customer_reference=command.customer_reference, currency=command.currency, by_role=by_role
    )
    return CustomerChanged(customer_id=customer.id, version=_FIRST_VERSION)


async def add_customer(
    work: UnitOfWork,
    *,
    customer_reference: str | None,
    currency: str | None,
    by_role: Mapping[ContactRole, ContactFields],
) -> KnownCustomer:
    """A new customer with its contacts, known by its reference and its identity, unless that is another's."""
    billing = by_role[ContactRole.BILLING]
    kind = kind_of(billing)
    terms = {REFERENCE: customer_reference, EMAIL_AND_NAME: identity_of(billing)}
    customer_id = await insert_customer(
        work,
        kind=kind,
        customer_reference=customer_reference,
        currency=currency,
        contacts=share_contacts(by_role),
        known_by={name: term for name, term in terms.items() if term},
    )
    created = CustomerCreated(
        customer_id=customer_id, version=_FIRST_VERSION, kind=kind, customer_reference=customer_reference
    )
    await work.publish(created, order_key=customer_id)
    return KnownCustomer(customer_id, customer_id, customer_reference)
