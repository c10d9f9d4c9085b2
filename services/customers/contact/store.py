"""The rows of contacts."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select

from services.customers.customer.store import family
from services.customers.models import ContactRow, Customer, CustomerPurchase
from shared.contracts.purchases import UNPAID, ContactRole
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork


async def take_roles(work: UnitOfWork, customer: Customer, roles: Iterable[ContactRole]) -> None:
    """No contact of the customer has these roles; each must be given to another before the use case ends.

    Written at once: the database allows one contact for each role.
    """
    for role in roles:
        customer.contact(role).set_role(role, has=False)
    await work.session.flush()


def add_contact(work: UnitOfWork, customer: Customer, role: ContactRole, fields: dict[str, Any]) -> None:
    """A contact of the customer that has this role and no other."""
    contact = ContactRow(
        id=new_id(),
        customer_id=customer.id,
        fields=fields,
        created_by=work.context.actor,
        is_billing=False,
        is_delivery=False,
        is_licensee=False,
    )
    contact.set_role(role, has=True)
    customer.contacts.append(contact)


async def unpaid_purchases(work: UnitOfWork, customer: Customer) -> Sequence[str]:
    """The reference numbers of what the customer and its aliases have not paid, oldest first."""
    statement = (
        select(CustomerPurchase.reference_number)
        .where(CustomerPurchase.customer_id.in_(family(customer.id)), CustomerPurchase.status.in_(UNPAID))
        .order_by(CustomerPurchase.ordered_at)
    )
    return (await work.session.scalars(statement)).all()
