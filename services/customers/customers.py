"""Finding, locking and changing the row of a customer: what every use case of this service shares."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.orm import selectinload

from services.customers.domain import Action, Obstacle, Standing, obstacle
from services.customers.models import (
    Change,
    ContactRow,
    Customer,
    CustomerPurchase,
    Facts,
    Identity,
    Movement,
    MovementKind,
    MovementState,
    SearchKey,
)
from services.customers.search_rules import OF_CONTACTS, keys_of
from services.customers.statements import ADD_SEARCH_KEYS, given
from shared.contracts.customers import CustomerChanged, CustomerUpdated
from shared.contracts.purchases import ContactRole
from shared.contracts.refusals import MissingPrerequisite, Refused
from shared.contracts.values import ALL_CLIENTS
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork
from shared.search.keywords import Key

REASON_GIVEN: Final = "reason_given"


def of_client(client_id: str, column: Any = Customer.client_id) -> tuple[ColumnElement[bool], ...]:
    """The condition that keeps one client's rows from another; none in all-clients mode."""
    return () if client_id == ALL_CLIENTS else (column == client_id,)


def not_found(**address: str | None) -> MissingPrerequisite:
    """The refusal for a customer that is not there, or is another client's: the two look the same."""
    return MissingPrerequisite("customer_not_found", "There is no such customer, or not yet.", errors=(), **address)


async def lock_customers(work: UnitOfWork, *customer_ids: UUID) -> dict[UUID, Customer]:
    """The customers with their contacts, locked in the order of their ids until the transaction ends.

    Raises MissingPrerequisite `customer_not_found`.
    """
    rows = await work.session.scalars(
        select(Customer)
        .where(Customer.id.in_(customer_ids), Customer.client_id == work.context.client_id)
        .order_by(Customer.id)
        .options(selectinload(Customer.contacts))
        .with_for_update(of=Customer)
        .execution_options(populate_existing=True)
    )
    found = {row.id: row for row in rows}
    for customer_id in customer_ids:
        if customer_id not in found:
            raise not_found(customer_id=str(customer_id))
    return found


async def lock_for(work: UnitOfWork, action: Action, customer_id: UUID, expected_version: int | None) -> Customer:
    """The customer, locked, if the action is allowed now; raises the refusal otherwise."""
    customer = (await lock_customers(work, customer_id))[customer_id]
    check_version(customer, expected_version)
    refuse(obstacle(action, await standing(work, customer)))
    return customer


def refuse(no: Obstacle | None, **facts: str | None) -> None:
    """Turn the no of a rule into a refusal of the command."""
    if no is not None:
        raise Refused(no.code, no.words, errors=(), **facts)


def check_version(customer: Customer, expected: int | None) -> None:
    """Refuse a change that was decided on an older state of the customer, saying who changed it and when."""
    if expected is not None and expected != customer.version:
        raise Refused(
            "version_conflict",
            "The customer has changed since it was read.",
            customer_id=str(customer.id),
            version=customer.version,
            changed_by=customer.changed_by,
            changed_at=customer.changed_at.isoformat(),
        )


async def standing(work: UnitOfWork, customer: Customer) -> Standing:
    """What the rules want to know of a customer with loaded contacts."""
    return Standing(
        customer_id=customer.id,
        client_id=customer.client_id,
        merged_into=customer.merged_into_id,
        anonymized=customer.anonymized_at is not None,
        open_refunds=await open_refunds(work, customer.id),
        contacts=sum(1 for row in customer.contacts if roles_of(row)),
    )


async def open_refunds(work: UnitOfWork, customer_id: UUID) -> int:
    """Refunds of the customer and its aliases that are on their way."""
    statement = (
        select(func.count())
        .select_from(Movement)
        .join(CustomerPurchase, CustomerPurchase.id == Movement.purchase_id)
        .where(
            CustomerPurchase.customer_id.in_(family(customer_id)),
            Movement.kind == MovementKind.REFUND,
            Movement.state == MovementState.OPEN,
        )
    )
    return (await work.session.execute(statement)).scalar_one()


def family(root_id: UUID) -> Any:
    """The ids of a customer and of all its aliases; of an alias: its own and those of its own aliases."""
    members = select(Customer.id).where(Customer.id == root_id).cte("family", recursive=True)
    return select(members.union_all(select(Customer.id).join(members, Customer.merged_into_id == members.c.id)).c.id)


async def one_at_a_time(work: UnitOfWork) -> None:
    """Merging, its undoing and anonymizing change many records of a client at once: one of them at a time."""
    key = f"aftersale-customers/{work.context.client_id}"
    await work.session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})


async def changed(work: UnitOfWork, customer: Customer, subject: str, facts: Facts) -> None:
    """Close a change of a customer: new version, who and when, and a line in its history."""
    customer.version += 1
    customer.changed_at = datetime.now(UTC)
    customer.changed_by = work.context.actor
    note(work, customer.id, subject, facts)


def note(work: UnitOfWork, customer_id: UUID, subject: str, facts: Facts) -> None:
    """A line in the history of a customer, written with the other changes of the use case."""
    work.session.add(Change(customer_id=customer_id, **line_of(work, subject, facts)))


def line_of(work: UnitOfWork, subject: str, facts: Facts) -> dict[str, Any]:
    """What a line in a history says. Facts hold no personal data, except perhaps the reason that was given."""
    return {
        "id": new_id(),
        "at": datetime.now(UTC),
        "actor": work.context.actor,
        "subject": subject,
        "facts": facts if work.context.reason is None else facts | {REASON_GIVEN: work.context.reason},
        "correlation_id": work.context.correlation_id,
    }


async def tell_update(work: UnitOfWork, customer: Customer, change: str, roles: Iterable[ContactRole]) -> None:
    """Tell that the customer's data have changed; not what to."""
    await work.publish(
        CustomerUpdated(customer_id=customer.id, version=customer.version, change=change, roles=tuple(roles)),
        order_key=customer.id,
    )


def roles_of(row: ContactRow) -> tuple[ContactRole, ...]:
    """The roles that a contact has; none if it is kept for the record only."""
    return tuple(role for role in ContactRole if getattr(row, f"is_{role.value}"))


def contact_of(customer: Customer, role: ContactRole) -> ContactRow:
    """The contact in a role."""
    return next(row for row in customer.contacts if role in roles_of(row))


async def index_contacts(work: UnitOfWork, customer: Customer) -> None:
    """Find the customer by its present contacts, and no longer by earlier ones. Identities stay: it is still known
    by what it bought under."""
    await work.session.execute(
        delete(SearchKey).where(SearchKey.customer_id == customer.id, SearchKey.kind.in_(OF_CONTACTS))
    )
    found_by = keys_of(row.fields for row in customer.contacts if roles_of(row))
    whose = {"client_id": customer.client_id, "customer_id": customer.id, "root_id": customer.root_id}
    await work.session.execute(ADD_SEARCH_KEYS, given("the", whose) | search_keys(found_by))


def search_keys(keys: Iterable[Key]) -> dict[str, Any]:
    """Search terms as parameters of a statement."""
    in_order = sorted(keys)
    return given("keys", {"kind": [key.kind for key in in_order], "term": [key.term for key in in_order]})


async def claim(work: UnitOfWork, customer: Customer, kind: str, term: str) -> UUID:
    """Let the customer be known by this; returns whose it is, another customer's if that one was first."""
    given = {"client_id": customer.client_id, "kind": kind, "term": term}
    await work.session.execute(insert_or(Identity).values(**given, customer_id=customer.id).on_conflict_do_nothing())
    return (await work.session.execute(select(Identity.customer_id).filter_by(**given))).scalar_one()


def receipt(customer: Customer) -> CustomerChanged:
    """The reply to a change."""
    return CustomerChanged(customer_id=customer.id, version=customer.version)
