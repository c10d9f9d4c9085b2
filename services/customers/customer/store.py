"""The rows of a customer: locking, adding and changing them, and what every change ends with."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Column,
    ColumnElement,
    Executable,
    Select,
    TableValuedAlias,
    Text,
    bindparam,
    column,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import selectinload
from sqlalchemy.types import TypeEngine

from services.customers.contact.rules import ContactSet
from services.customers.customer.rules import CustomerState, kept_facts
from services.customers.models import (
    Announcement,
    Change,
    ContactRow,
    Customer,
    CustomerPurchase,
    CustomersTables,
    Facts,
    Identity,
    Movement,
    MovementKind,
    MovementState,
    SearchKey,
)
from services.customers.search_rules import OF_CONTACTS, KeyKind, keys_of
from shared.contracts.customers import CustomerChanged, CustomerKind
from shared.contracts.message import Event
from shared.contracts.personal import REMOVED
from shared.contracts.purchases import ContactRole
from shared.contracts.refusals import MissingPrerequisite
from shared.ids import new_id
from shared.messaging.anonymization import anonymize_outbox
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import check_version, touch
from shared.search.keywords import Key

_REASON_GIVEN: Final = "reason_given"
_CUSTOMER: Final = Customer.__table__
_CONTACT: Final = ContactRow.__table__
_CHANGE: Final = Change.__table__
_IDENTITY: Final = Identity.__table__
_SEARCH_KEY: Final = SearchKey.__table__


class PurchaseNumbers(NamedTuple):
    """How a purchase is called: by us and its buyer, and by the seller."""

    reference_number: str
    client_order_id: str


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


def add_entry(work: UnitOfWork, customer_id: UUID, subject: str, facts: Facts, *, at: datetime | None = None) -> None:
    """A line in the history of a customer, written with the other changes of the use case."""
    work.session.add(Change(customer_id=customer_id, **_entry(work, subject, facts, at)))


def _entry(work: UnitOfWork, subject: str, facts: Facts, at: datetime | None) -> dict[str, Any]:
    """What a line in a history says. Facts hold no personal data, except perhaps the reason that was given."""
    return {
        "id": new_id(),
        "at": at or datetime.now(UTC),
        "actor": work.context.actor,
        "subject": subject,
        "facts": facts if work.context.reason is None else facts | {_REASON_GIVEN: work.context.reason},
        "correlation_id": work.context.correlation_id,
    }


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


async def purchase_numbers(work: UnitOfWork, members: Sequence[UUID]) -> Sequence[PurchaseNumbers]:
    """Every purchase of these records."""
    rows = await work.session.execute(
        select(CustomerPurchase.reference_number, CustomerPurchase.client_order_id)
        .where(CustomerPurchase.customer_id.in_(members))
        .order_by(CustomerPurchase.reference_number)
    )
    return [PurchaseNumbers(*row) for row in rows]


async def remove_personal_data(work: UnitOfWork, members: Sequence[UUID], purchases: Sequence[PurchaseNumbers]) -> None:
    """Personal data beside the contacts are gone. By its reference numbers the customer is still found."""
    await work.session.execute(
        delete(SearchKey).where(SearchKey.customer_id.in_(members), SearchKey.kind != KeyKind.REFERENCE_NUMBER)
    )
    await work.session.execute(
        update(CustomerPurchase).where(CustomerPurchase.customer_id.in_(members)).values(card_last4=None)
    )
    of_members = select(CustomerPurchase.id).where(CustomerPurchase.customer_id.in_(members))
    for told in await work.session.scalars(select(Announcement).where(Announcement.purchase_id.in_(of_members))):
        told.facts = kept_facts(told.facts)
    reasons = update(Change).where(Change.customer_id.in_(members), Change.facts.has_key(_REASON_GIVEN))
    await work.session.execute(reasons.values(facts=Change.facts.concat({_REASON_GIVEN: REMOVED})))
    await anonymize_outbox(
        work.session,
        CustomersTables.outbox,
        [purchase.reference_number for purchase in purchases],
        records=[str(member) for member in members],
    )


# Several rows at once, in one statement that is built once. Its parameters are named unlike the columns of the tables
# that it writes: SQLAlchemy would take them for the values of those columns.

CLIENT: Final = bindparam("client", type_=_CUSTOMER.c.client_id.type)
CUSTOMER: Final = bindparam("customer", type_=_CUSTOMER.c.id.type)
_ROOT: Final = bindparam("root", type_=_CUSTOMER.c.root_id.type)


def new_value(of: Column[Any]) -> BindParameter[Any]:
    """The parameter `new_<column>`."""
    return bindparam(f"new_{of.name}", type_=of.type)


def insert_search_keys() -> Insert:
    """Terms under which a customer is found, of `search_key_values`; also `client`, `customer` and `root`."""
    keys = _rows("key", kind=_SEARCH_KEY.c.kind.type, term=Text())
    return (
        insert(_SEARCH_KEY)
        .from_select(
            ["customer_id", "kind", "term", "client_id", "root_id"],
            select(CUSTOMER, keys.c.kind, keys.c.term, CLIENT, _ROOT),
        )
        .on_conflict_do_nothing()
    )


def search_key_values(keys: Iterable[Key]) -> dict[str, Any]:
    """Search terms as parameters of a statement."""
    in_order = sorted(keys)
    return {"key_kind": [key.kind for key in in_order], "key_term": [key.term for key in in_order]}


def insert_entry() -> Insert:
    """A line in the history of `customer`, of `entry_values`."""
    columns = [column for column in _CHANGE.c if column.name != "customer_id"]
    line: dict[str, Any] = {of.name: bindparam(f"entry_{of.name}", type_=of.type) for of in columns}
    return insert(_CHANGE).values(line | {"customer_id": CUSTOMER})


def entry_values(work: UnitOfWork, subject: str, facts: Facts) -> dict[str, Any]:
    """A line in a history as parameters of a statement."""
    return {f"entry_{name}": value for name, value in _entry(work, subject, facts, None).items()}


def _rows(name: str, **columns: TypeEngine[Any]) -> TableValuedAlias:
    """Any number of rows, given as an array `<name>_<column>` for each column."""
    arrays = (bindparam(f"{name}_{of}", type_=ARRAY(kind)) for of, kind in columns.items())
    return (
        func.unnest(*arrays)
        .table_valued(*(column(of, kind) for of, kind in columns.items()))
        .render_derived(name=f"each_{name}")
    )


def _insert_customer() -> Executable:
    """A customer with its contacts, its search terms and the first line of its history.

    It is known by what is given, unless that is another's.
    """
    actor = bindparam("by", type_=_CUSTOMER.c.created_by.type)
    written = ("id", "is_billing", "is_delivery", "is_licensee", "fields")
    contacts = _rows("contact", **{name: _CONTACT.c[name].type for name in written})
    contact = insert(_CONTACT).from_select(
        [*written, "customer_id", "created_by"], select(*contacts.c, CUSTOMER, actor)
    )
    known = _rows("known", kind=_IDENTITY.c.kind.type, term=Text())
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


_INSERT_SEARCH_KEYS: Final = insert_search_keys()
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
