"""The rows of a customer: locking, adding and changing them, and what every change ends with."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Executable, Select, Text, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import selectinload

from services.customers.contact.rules import ContactSet
from services.customers.customer.rules import CustomerState
from services.customers.models import (
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
from services.customers.search_rules import OF_CONTACTS, KeyKind, keys_of
from services.customers.store import (
    CLIENT,
    CUSTOMER,
    add_entry,
    entry_values,
    insert_entry,
    insert_search_keys,
    new_value,
    rows,
    search_key_values,
)
from shared.contracts.customers import CustomerChanged, CustomerKind
from shared.contracts.message import Event
from shared.contracts.purchases import ContactRole
from shared.contracts.refusals import MissingPrerequisite
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import check_version, touch

_CUSTOMER: Final = Customer.__table__
_CONTACT: Final = ContactRow.__table__
_IDENTITY: Final = Identity.__table__
_INSERT_SEARCH_KEYS: Final = insert_search_keys()


def customer_not_found(**address: str | None) -> MissingPrerequisite:
    """The refusal for a customer that is not there, or is another client's: the two look the same."""
    return MissingPrerequisite("customer_not_found", "There is no such customer, or not yet.", errors=(), **address)


async def lock_client(work: UnitOfWork) -> None:
    """Merging, its undoing and anonymizing change many records of a client at once: one of them at a time."""
    key = f"aftersale-customers/{work.context.client_id}"
    await work.session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})


async def lock_customer(
    work: UnitOfWork, customer_id: UUID, *, expected_version: int | None, check: Callable[[CustomerState], None]
) -> Customer:
    """The customer with its contacts, locked, if the check allows the change now.

    Raises MissingPrerequisite `customer_not_found`, Refused `version_conflict` and what the check raises.
    """
    customer = (await lock_customers(work, customer_id))[customer_id]
    check_version(customer, expected_version, customer_id=str(customer_id))
    check(await read_state(work, customer))
    return customer


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
            raise customer_not_found(customer_id=str(customer_id))
    return found


async def read_customer(work: UnitOfWork, customer_id: UUID) -> Customer:
    """The customer as it stands now, without its contacts. Raises NoResultFound."""
    return await work.session.get_one(Customer, customer_id, populate_existing=True)


async def read_state(work: UnitOfWork, customer: Customer) -> CustomerState:
    """What the rules want to know of a customer with loaded contacts."""
    open_refunds = (
        select(func.count())
        .select_from(Movement)
        .join(CustomerPurchase, CustomerPurchase.id == Movement.purchase_id)
        .where(
            CustomerPurchase.customer_id.in_(family(customer.id)),
            Movement.kind == MovementKind.REFUND,
            Movement.state == MovementState.OPEN,
        )
    )
    return CustomerState(
        customer_id=customer.id,
        client_id=customer.client_id,
        merged_into=customer.merged_into_id,
        anonymized=customer.anonymized_at is not None,
        open_refunds=(await work.session.execute(open_refunds)).scalar_one(),
        contacts=sum(1 for contact in customer.contacts if contact.roles),
    )


def family(root_id: UUID) -> Select[UUID]:
    """The ids of a customer and of all its aliases; of an alias: its own and those of its own aliases."""
    members = select(Customer.id).where(Customer.id == root_id).cte("family", recursive=True)
    return select(members.union_all(select(Customer.id).join(members, Customer.merged_into_id == members.c.id)).c.id)


async def family_members(work: UnitOfWork, root_id: UUID) -> Sequence[UUID]:
    """The customer itself and its aliases."""
    return (await work.session.scalars(family(root_id))).all()


async def close_change(
    work: UnitOfWork,
    customer: Customer,
    change: str,
    facts: Facts,
    *,
    events: Callable[[Customer], Iterable[Event]],
) -> CustomerChanged:
    """End a change of a customer: new version, who and when, a line in its history, and what is told of it.

    `events` makes them of the customer as it is then. Returns the reply.
    """
    at = datetime.now(UTC)
    touch(work, customer, at=at)
    add_entry(work, customer.id, change, facts, at=at)
    for event in events(customer):
        await work.publish(event, order_key=customer.id)
    return CustomerChanged(customer_id=customer.id, version=customer.version)


async def index_contacts(work: UnitOfWork, customer: Customer) -> None:
    """Find the customer by its present contacts, and no longer by earlier ones. Identities stay: it is still known
    by what it bought under."""
    await work.session.flush()
    await work.session.execute(
        delete(SearchKey).where(SearchKey.customer_id == customer.id, SearchKey.kind.in_(OF_CONTACTS))
    )
    found_by = keys_of(contact.fields for contact in customer.contacts if contact.roles)
    owner = {"client": customer.client_id, "customer": customer.id, "root": customer.root_id}
    await work.session.execute(_INSERT_SEARCH_KEYS, owner | search_key_values(found_by))


async def remove_search_keys(work: UnitOfWork, members: Sequence[UUID]) -> None:
    """Nobody finds these customers by what is personal any more; by its reference numbers one is still found."""
    await work.session.execute(
        delete(SearchKey).where(SearchKey.customer_id.in_(members), SearchKey.kind != KeyKind.REFERENCE_NUMBER)
    )


def _insert_customer() -> Executable:
    """A customer with its contacts, its search terms and the first line of its history.

    It is known by what is given, unless that is another's.
    """
    actor = bindparam("by", type_=_CUSTOMER.c.created_by.type)
    written = ("id", "is_billing", "is_delivery", "is_licensee", "fields")
    contacts = rows("contact", **{name: _CONTACT.c[name].type for name in written})
    contact = insert(_CONTACT).from_select(
        [*written, "customer_id", "created_by"], select(*contacts.c, CUSTOMER, actor)
    )
    known = rows("known", kind=_IDENTITY.c.kind.type, term=Text())
    identity = (
        insert(_IDENTITY)
        .from_select(["client_id", "kind", "term", "customer_id"], select(CLIENT, known.c.kind, known.c.term, CUSTOMER))
        .on_conflict_do_nothing()
    )
    values: dict[str, ColumnElement[Any]] = {
        "id": CUSTOMER,
        "root_id": CUSTOMER,
        "client_id": CLIENT,
        "created_by": actor,
        "changed_by": actor,
    } | {name: new_value(_CUSTOMER.c[name]) for name in ("kind", "customer_reference", "currency")}
    return (
        insert(_CUSTOMER)
        .values(version=1, **values)
        .add_cte(
            contact.cte("contacts"),
            identity.cte("known_by"),
            insert_search_keys().cte("keys"),
            insert_entry().cte("history"),
        )
    )


_INSERT_CUSTOMER: Final = _insert_customer()


async def insert_customer(
    work: UnitOfWork,
    *,
    kind: CustomerKind,
    customer_reference: str | None,
    currency: str | None,
    contacts: Sequence[ContactSet],
    known_by: Mapping[str, str],
) -> UUID:
    """A new customer with its contacts, found by them, and known by these terms by kind unless they are another's.

    Returns its id. One statement.
    """
    customer_id = new_id()
    await work.session.execute(
        _INSERT_CUSTOMER,
        {
            "client": work.context.client_id,
            "customer": customer_id,
            "root": customer_id,
            "by": work.context.actor,
            "new_kind": kind,
            "new_customer_reference": customer_reference,
            "new_currency": currency,
            "contact_id": [new_id() for _ in contacts],
            "contact_fields": [contact.fields for contact in contacts],
            "known_kind": list(known_by),
            "known_term": list(known_by.values()),
        }
        | {f"contact_is_{role.value}": [role in contact.roles for contact in contacts] for role in ContactRole}
        | search_key_values(keys_of(contact.fields for contact in contacts))
        | entry_values(work, "customer.created", {}),
    )
    return customer_id
