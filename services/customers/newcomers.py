"""Who is a known customer and who is a new one. Rule: docs/domain.md, "Customers"."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

from services.customers.customers import line_of, search_keys
from services.customers.domain import identity_of, kind_of
from services.customers.models import EMAIL_AND_NAME, REFERENCE
from services.customers.search_rules import keys_of
from services.customers.statements import ADD_CUSTOMER, LOCK, SAME_CUSTOMER, given
from shared.contracts.customers import CustomerCreated
from shared.contracts.purchases import ContactRole
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class Buyer:
    """The record that a purchase belongs to, and the customer under which it is shown."""

    id: UUID
    root_id: UUID
    customer_reference: str | None


async def lock_identities(work: UnitOfWork, *terms: str | None) -> None:
    """Who makes or finds a customer by these waits for whoever is just doing the same."""
    keys = sorted(f"aftersale-identity/{work.context.client_id}/{term}" for term in terms if term)
    if keys:
        await work.session.execute(LOCK, {"keys": keys})


async def match(work: UnitOfWork, reference: str | None, identity: str | None) -> Buyer | None:
    """The customer known by the client's own reference, else by e-mail and name; not removed until the transaction
    ends."""
    asked = known_by(work, reference, identity)
    found = (await work.session.execute(SAME_CUSTOMER, asked)).mappings().one_or_none()
    return matching(found, reference) if found is not None else None


def known_by(work: UnitOfWork, reference: str | None, identity: str | None) -> dict[str, Any]:
    """Whom to look for, as parameters of a statement."""
    return given("the", {"client_id": work.context.client_id, REFERENCE: reference, EMAIL_AND_NAME: identity})


def matching(found: RowMapping, reference: str | None) -> Buyer | None:
    """The record found, if it is the customer that is meant.

    Two different references of the client are two customers, whatever they have in common. The record found may be
    an alias: the purchase stays with it when a merge is undone.
    """
    if found["id"] is None or found["anonymized_at"] is not None:
        return None
    if reference and found["customer_reference"] not in (None, reference):
        return None
    return Buyer(found["id"], found["root_id"], found["customer_reference"])


async def add_customer(
    work: UnitOfWork,
    *,
    customer_reference: str | None,
    currency: str | None,
    by_role: dict[ContactRole, dict[str, Any]],
) -> Buyer:
    """A new customer with its contacts, known by its reference and its identity, unless that is another's."""
    customer_id = new_id()
    kind = kind_of(by_role[ContactRole.BILLING])
    terms = {REFERENCE: customer_reference, EMAIL_AND_NAME: identity_of(by_role[ContactRole.BILLING])}
    known = [(name, term) for name, term in terms.items() if term]
    await work.session.execute(
        ADD_CUSTOMER,
        given("the", {"client_id": work.context.client_id, "customer_id": customer_id, "root_id": customer_id})
        | given("the", {"created_by": work.context.actor})
        | given("customer", {"kind": kind, "customer_reference": customer_reference, "currency": currency})
        | given("contacts", _contacts(by_role))
        | given("known_by", {"kind": [name for name, _ in known], "term": [term for _, term in known]})
        | search_keys(keys_of(by_role.values()))
        | given("change", line_of(work, "customer.created", {})),
    )
    await work.publish(
        CustomerCreated(customer_id=customer_id, version=1, kind=kind, customer_reference=customer_reference),
        order_key=customer_id,
    )
    return Buyer(customer_id, customer_id, customer_reference)


def _contacts(by_role: dict[ContactRole, dict[str, Any]]) -> dict[str, list[Any]]:
    """The contacts of a new customer, column by column: one shared set for all roles whose data are equal."""
    sets: list[dict[str, Any]] = []
    for fields in by_role.values():
        if fields not in sets:
            sets.append(fields)
    has_role = {f"is_{role.value}": [fields == by_role[role] for fields in sets] for role in ContactRole}
    return {"id": [new_id() for _ in sets], "fields": sets, **has_role}
