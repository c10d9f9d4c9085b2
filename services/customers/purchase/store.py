"""What news of a purchase ask and write, in SQL. Built once; what can go together is one statement.

Statements that may find nothing are queries that write as they read: where the purchase is not known yet nothing has
been written, and the news can be refused within a transaction that other messages share.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    CTE,
    BindParameter,
    Column,
    ColumnElement,
    Executable,
    LargeBinary,
    ScalarSelect,
    Select,
    TableValuedAlias,
    Text,
    any_,
    bindparam,
    case,
    column,
    exists,
    func,
    literal,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.types import TypeEngine

from services.customers.models import (
    EMAIL_AND_NAME,
    REFERENCE,
    Announcement,
    Change,
    ContactRow,
    Customer,
    CustomerPurchase,
    Identity,
    Movement,
    SearchKey,
    Tombstone,
)

_CUSTOMER: Final = Customer.__table__
_CONTACT: Final = ContactRow.__table__
_IDENTITY: Final = Identity.__table__
_PURCHASE: Final = CustomerPurchase.__table__
_MOVEMENT: Final = Movement.__table__
_ANNOUNCEMENT: Final = Announcement.__table__
_CHANGE: Final = Change.__table__
_SEARCH_KEY: Final = SearchKey.__table__
_TOMBSTONE: Final = Tombstone.__table__

CHANGE_VALUES: Final = ("id", "at", "actor", "subject", "facts", "correlation_id")
_PURCHASE_VALUES: Final = (
    "id", "reference_number", "client_order_id", "status", "status_version", "ordered_at", "currency", "gross",
    "card_last4",
)  # fmt: skip
_CONTACT_VALUES: Final = ("id", "is_billing", "is_delivery", "is_licensee", "fields")


def given(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a statement. No column is named like one: SQLAlchemy would take it for the value of the column."""
    return {f"{prefix}__{name}": value for name, value in values.items()}


def _value(prefix: str, of: Column[Any]) -> BindParameter[Any]:
    return bindparam(f"{prefix}__{of.name}", type_=of.type)


def _array(prefix: str, name: str, kind: TypeEngine[Any]) -> BindParameter[Any]:
    return bindparam(f"{prefix}__{name}", type_=ARRAY(kind))


def _rows(prefix: str, of: Mapping[str, TypeEngine[Any]]) -> TableValuedAlias:
    """Any number of rows, given as an array for each column."""
    arrays = (_array(prefix, name, kind) for name, kind in of.items())
    return (
        func.unnest(*arrays)
        .table_valued(*(column(name, kind) for name, kind in of.items()))
        .render_derived(name=f"given_{prefix}")
    )


_CLIENT_ID: Final = _value("the", _CUSTOMER.c.client_id)
_CUSTOMER_ID: Final = bindparam("the__customer_id", type_=_CUSTOMER.c.id.type)
_ROOT_ID: Final = _value("the", _CUSTOMER.c.root_id)
_ACTOR: Final = _value("the", _CONTACT.c.created_by)


def _same_customer() -> Select[Any]:
    """The record known by the client's own reference, else by e-mail and name; nobody removes its data meanwhile."""

    def known(kind: str) -> ScalarSelect[Any]:
        term = bindparam(f"the__{kind}", type_=Text())
        return (
            select(_IDENTITY.c.customer_id)
            .where(_IDENTITY.c.client_id == _CLIENT_ID, _IDENTITY.c.kind == kind, _IDENTITY.c.term == term)
            .scalar_subquery()
        )

    columns = (_CUSTOMER.c[name] for name in ("id", "root_id", "customer_reference", "anonymized_at"))
    owner = func.coalesce(known(REFERENCE), known(EMAIL_AND_NAME))
    return select(*columns).where(_CUSTOMER.c.id == owner).with_for_update(read=True, of=_CUSTOMER)


def _look_up() -> Executable:
    """One row: whether the purchase is there, whose it would be, and which forgotten customer ordered it."""
    purchase = exists().where(_PURCHASE.c.id == _value("purchase", _PURCHASE.c.id))
    forgotten = (
        select(_TOMBSTONE.c.customer_id)
        .where(
            _TOMBSTONE.c.digest == any_(_array("the", "digests", LargeBinary())),
            _TOMBSTONE.c.at > _value("purchase", _PURCHASE.c.ordered_at),
        )
        .limit(1)
        .scalar_subquery()
    )
    same = _same_customer().cte("same")
    always = select(literal(1).label("one")).subquery("always")
    return select(purchase.label("attached"), forgotten.label("forgotten_id"), *same.c).select_from(
        always.outerjoin(same, true())
    )


def _search_keys() -> Insert:
    keys = _rows("keys", {"kind": _SEARCH_KEY.c.kind.type, "term": Text()})
    return (
        insert(_SEARCH_KEY)
        .from_select(
            ["customer_id", "kind", "term", "client_id", "root_id"],
            select(_CUSTOMER_ID, keys.c.kind, keys.c.term, _CLIENT_ID, _ROOT_ID),
        )
        .on_conflict_do_nothing()
    )


def _change() -> Insert:
    line: dict[str, ColumnElement[Any]] = {name: _value("change", _CHANGE.c[name]) for name in CHANGE_VALUES}
    return insert(_CHANGE).values(line | {"customer_id": _CUSTOMER_ID})


def _add_customer() -> Executable:
    """A customer with its contacts, its search terms and the first line of its history.

    It is known by what is given, unless that is another's.
    """
    contacts = _rows("contacts", {name: _CONTACT.c[name].type for name in _CONTACT_VALUES})
    contact = insert(_CONTACT).from_select(
        [*_CONTACT_VALUES, "customer_id", "created_by"], select(*contacts.c, _CUSTOMER_ID, _ACTOR)
    )
    terms = _rows("known_by", {"kind": _IDENTITY.c.kind.type, "term": Text()})
    identity = (
        insert(_IDENTITY)
        .from_select(
            ["client_id", "kind", "term", "customer_id"], select(_CLIENT_ID, terms.c.kind, terms.c.term, _CUSTOMER_ID)
        )
        .on_conflict_do_nothing()
    )
    customer = insert(_CUSTOMER).values(
        id=_CUSTOMER_ID,
        root_id=_ROOT_ID,
        client_id=_CLIENT_ID,
        version=1,
        created_by=_ACTOR,
        changed_by=_ACTOR,
        **{name: _value("customer", _CUSTOMER.c[name]) for name in ("kind", "customer_reference", "currency")},
    )
    return customer.add_cte(
        contact.cte("contacts"), identity.cte("known_by"), _search_keys().cte("keys"), _change().cte("history")
    )


def _add_purchase() -> Executable:
    """A purchase of a customer, who is found by it and has it in the history."""
    fields: dict[str, ColumnElement[Any]] = {name: _value("purchase", _PURCHASE.c[name]) for name in _PURCHASE_VALUES}
    purchase = insert(_PURCHASE).values(fields | {"client_id": _CLIENT_ID, "customer_id": _CUSTOMER_ID})
    return purchase.add_cte(_search_keys().cte("keys"), _change().cte("history"))


def _purchase() -> Select[Any]:
    """The copy of the purchase that the news are of."""
    return select(_PURCHASE.c.id).where(
        _PURCHASE.c.client_id == _CLIENT_ID,
        _PURCHASE.c.reference_number == _value("the", _PURCHASE.c.reference_number),
    )


def _note_status() -> Executable:
    purchase = _purchase().cte("known")
    noted = (
        update(_PURCHASE)
        .where(
            _PURCHASE.c.id == purchase.c.id,
            _PURCHASE.c.status_version < _value("news", _PURCHASE.c.status_version),
        )
        .values({name: _value("news", _PURCHASE.c[name]) for name in ("status", "status_version", "gross")})
    )
    return select(purchase.c.id).add_cte(noted.cte("noted"))


def _movement(known: CTE) -> Insert:
    fields = [_value("movement", _MOVEMENT.c[name]) for name in ("id", "kind", "state", "amount")]
    return insert(_MOVEMENT).from_select(["id", "kind", "state", "amount", "purchase_id"], select(*fields, known.c.id))


def _note_begun() -> Executable:
    """A movement that is on its way, unless its end is known already."""
    purchase = _purchase().cte("known")
    begun = _movement(purchase).on_conflict_do_nothing()
    return select(purchase.c.id).add_cte(begun.cte("begun"))


def _note_ended() -> Executable:
    """The end of a movement, whose beginning may be known or not."""
    purchase = _purchase().cte("known")
    ended = _movement(purchase)
    ended = ended.on_conflict_do_update(index_elements=["id"], set_={"state": ended.excluded.state})
    return select(purchase.c.id).add_cte(ended.cte("ended"))


def _announce() -> Executable:
    """A line in the profile. Nobody removes the customer's data meanwhile; are they removed, only `kept` is stored."""
    purchase = (
        _purchase()
        .add_columns(_CUSTOMER.c.anonymized_at.is_not(None).label("is_anonymized"))
        .join(_CUSTOMER, _CUSTOMER.c.id == _PURCHASE.c.customer_id)
        .with_for_update(read=True, of=_CUSTOMER)
        .cte("known")
    )
    kept = bindparam("news__kept", type_=_ANNOUNCEMENT.c.facts.type)
    facts = case((purchase.c.is_anonymized, kept), else_=_value("news", _ANNOUNCEMENT.c.facts))
    line = [_value("news", _ANNOUNCEMENT.c[name]) for name in ("id", "at", "subject")]
    said = (
        insert(_ANNOUNCEMENT)
        .from_select(["id", "at", "subject", "facts", "purchase_id"], select(*line, facts, purchase.c.id))
        .on_conflict_do_nothing()
    )
    return select(purchase.c.id).add_cte(said.cte("said"))


LOCK: Final = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM unnest(CAST(:keys AS text[])) AS given (key)"
).bindparams(bindparam("keys", type_=ARRAY(Text())))
"""Waits for each key, in the order given."""
SAME_CUSTOMER: Final = _same_customer()
LOOK_UP: Final = _look_up()
ADD_CUSTOMER: Final = _add_customer()
ADD_PURCHASE: Final = _add_purchase()
ADD_SEARCH_KEYS: Final = _search_keys()
NOTE_STATUS: Final = _note_status()
NOTE_BEGUN: Final = _note_begun()
NOTE_ENDED: Final = _note_ended()
ANNOUNCE: Final = _announce()
