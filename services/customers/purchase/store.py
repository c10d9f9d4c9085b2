"""The copies of purchases and of what belongs to them. Every message about a purchase is one statement, built once.

Statements that may find nothing are queries that write as they read: where the purchase is not known yet nothing has
been written, and the message can be refused within a transaction that others share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Executable,
    LargeBinary,
    Select,
    any_,
    bindparam,
    case,
    exists,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from services.customers.customer.rules import kept_facts
from services.customers.identity.rules import digest
from services.customers.identity.store import KnownCustomer, known_customer, select_known
from services.customers.models import (
    Announcement,
    Customer,
    CustomerPurchase,
    Facts,
    Movement,
    MovementKind,
    MovementState,
    Tombstone,
)
from services.customers.search_rules import keys_of_purchase
from services.customers.store import (
    CLIENT,
    CUSTOMER,
    entry_values,
    insert_entry,
    insert_search_keys,
    new_value,
    search_key_values,
)
from shared.contracts.purchases import PurchaseRecorded, PurchaseStatus
from shared.contracts.refusals import MissingPrerequisite
from shared.messaging.unit_of_work import UnitOfWork

_CUSTOMER: Final = Customer.__table__
_PURCHASE: Final = CustomerPurchase.__table__
_MOVEMENT: Final = Movement.__table__
_ANNOUNCEMENT: Final = Announcement.__table__
_TOMBSTONE: Final = Tombstone.__table__
_COPIED: Final = (
    "id", "reference_number", "client_order_id", "status", "status_version", "ordered_at", "currency", "gross",
    "card_last4",
)  # fmt: skip


class PurchaseNumbers(NamedTuple):
    """How a purchase is called: by us and its buyer, and by the seller."""

    reference_number: str
    client_order_id: str


@dataclass(frozen=True)
class Owner:
    """Whose a purchase is, or would be."""

    has_purchase: bool
    """It is recorded already."""
    customer: KnownCustomer | None
    forgotten_id: UUID | None
    """Of who ordered it before being anonymized."""


async def find_owner(work: UnitOfWork, event: PurchaseRecorded, identity: str | None) -> Owner:
    """Whose the purchase is. A customer that is found is not anonymized until the transaction ends."""
    terms = (event.customer_reference, identity)
    asked = {
        "client": work.context.client_id,
        "reference": event.customer_reference,
        "identity": identity,
        "digests": [digest(work.context.client_id, term) for term in terms if term],
        "purchase": event.purchase_id,
        "ordered_at": event.ordered_at,
    }
    found = (await work.session.execute(_FIND_OWNER, asked)).mappings().one()
    if found["anonymized_at"] is not None:
        # It was anonymized while its lock was waited for: what was read before the wait has no tombstone yet.
        found = (await work.session.execute(_FIND_OWNER, asked)).mappings().one()
    return Owner(found["has_purchase"], known_customer(found, event.customer_reference), found["forgotten_id"])


async def insert_purchase(
    work: UnitOfWork, event: PurchaseRecorded, customer: KnownCustomer, *, card_last4: str | None
) -> None:
    """A purchase of a customer, who is found by it and has it in the history."""
    copied = {
        "new_id": event.purchase_id,
        "new_reference_number": event.reference_number,
        "new_client_order_id": event.client_order_id,
        "new_status": event.status,
        "new_status_version": event.version,
        "new_ordered_at": event.ordered_at,
        "new_currency": event.gross.currency,
        "new_gross": event.gross.amount,
        "new_card_last4": card_last4,
    }
    await work.session.execute(
        _INSERT_PURCHASE,
        {"client": work.context.client_id, "customer": customer.id, "root": customer.root_id}
        | copied
        | search_key_values(keys_of_purchase(event.reference_number, card_last4))
        | entry_values(work, "purchase.attached", {"reference_number": event.reference_number}),
    )


async def set_status(
    work: UnitOfWork, reference_number: str, *, status: PurchaseStatus, status_version: int, gross: int
) -> None:
    """The purchase has this status and this gross amount, in minor units, unless a newer version is known.

    Raises MissingPrerequisite `purchase_not_found`.
    """
    values = {"new_status": status, "new_status_version": status_version, "new_gross": gross}
    await _write_about(work, reference_number, _SET_STATUS, values)


async def begin_movement(
    work: UnitOfWork, reference_number: str, *, movement_id: UUID, kind: MovementKind, amount: int
) -> None:
    """A payment or refund, in minor units, is on its way, unless its end is known already.

    Raises MissingPrerequisite `purchase_not_found`.
    """
    values = {"new_id": movement_id, "new_kind": kind, "new_state": MovementState.OPEN, "new_amount": amount}
    await _write_about(work, reference_number, _BEGIN_MOVEMENT, values)


async def end_movement(
    work: UnitOfWork,
    reference_number: str,
    *,
    movement_id: UUID,
    kind: MovementKind,
    state: MovementState,
    amount: int,
) -> None:
    """A payment or refund, in minor units, has ended; its beginning may be known or not.

    Raises MissingPrerequisite `purchase_not_found`.
    """
    values = {"new_id": movement_id, "new_kind": kind, "new_state": state, "new_amount": amount}
    await _write_about(work, reference_number, _END_MOVEMENT, values)


async def add_announcement(
    work: UnitOfWork, reference_number: str, *, at: datetime, subject: str, facts: Facts
) -> None:
    """A line in the profile of whoever made the purchase; of an anonymized customer only what is not personal is kept.

    A message adds it once. Raises MissingPrerequisite `purchase_not_found`.
    """
    values = {
        "new_id": work.context.message_id,
        "new_at": at,
        "new_subject": subject,
        "new_facts": facts,
        "kept_facts": kept_facts(facts),
    }
    await _write_about(work, reference_number, _ADD_ANNOUNCEMENT, values)


async def purchase_numbers(work: UnitOfWork, members: Sequence[UUID]) -> Sequence[PurchaseNumbers]:
    """Every purchase of these customers."""
    rows = await work.session.execute(
        select(CustomerPurchase.reference_number, CustomerPurchase.client_order_id)
        .where(CustomerPurchase.customer_id.in_(members))
        .order_by(CustomerPurchase.reference_number)
    )
    return [PurchaseNumbers(*row) for row in rows]


async def anonymize_purchases(work: UnitOfWork, members: Sequence[UUID]) -> None:
    """The purchases of these customers, and what was told of them, name nobody any more."""
    await work.session.execute(
        update(CustomerPurchase).where(CustomerPurchase.customer_id.in_(members)).values(card_last4=None)
    )
    of_members = select(CustomerPurchase.id).where(CustomerPurchase.customer_id.in_(members))
    rows = await work.session.scalars(select(Announcement).where(Announcement.purchase_id.in_(of_members)))
    for announcement in rows:
        announcement.facts = kept_facts(announcement.facts)


async def _write_about(work: UnitOfWork, reference_number: str, statement: Executable, values: dict[str, Any]) -> None:
    purchase = {"client": work.context.client_id, "number": reference_number}
    if (await work.session.execute(statement, purchase | values)).first() is None:
        raise MissingPrerequisite(
            "purchase_not_found", "There is no such purchase, or not yet.", reference_number=reference_number
        )


def _find_owner() -> Executable:
    """One row: whether the purchase is there, whose it would be, and which forgotten customer ordered it."""
    purchase = exists().where(_PURCHASE.c.id == bindparam("purchase", type_=_PURCHASE.c.id.type))
    forgotten = (
        select(_TOMBSTONE.c.customer_id)
        .where(
            _TOMBSTONE.c.digest == any_(bindparam("digests", type_=ARRAY(LargeBinary()))),
            _TOMBSTONE.c.at > bindparam("ordered_at", type_=_PURCHASE.c.ordered_at.type),
        )
        .limit(1)
        .scalar_subquery()
    )
    known = select_known().cte("same")
    always = select(literal(1).label("one")).subquery("always")
    return select(purchase.label("has_purchase"), forgotten.label("forgotten_id"), *known.c).select_from(
        always.outerjoin(known, true())
    )


def _insert_purchase() -> Executable:
    values: dict[str, ColumnElement[Any]] = {name: new_value(_PURCHASE.c[name]) for name in _COPIED}
    purchase = insert(_PURCHASE).values(values | {"client_id": CLIENT, "customer_id": CUSTOMER})
    return purchase.add_cte(insert_search_keys().cte("keys"), insert_entry().cte("history"))


def _purchase() -> Select[Any]:
    """The copy of the purchase that the message is about."""
    number = bindparam("number", type_=_PURCHASE.c.reference_number.type)
    return select(_PURCHASE.c.id).where(_PURCHASE.c.client_id == CLIENT, _PURCHASE.c.reference_number == number)


def _set_status() -> Executable:
    purchase = _purchase().cte("known")
    newer = _PURCHASE.c.status_version < new_value(_PURCHASE.c.status_version)
    written = (
        update(_PURCHASE)
        .where(_PURCHASE.c.id == purchase.c.id, newer)
        .values({name: new_value(_PURCHASE.c[name]) for name in ("status", "status_version", "gross")})
    )
    return select(purchase.c.id).add_cte(written.cte("written"))


def _insert_movement(purchase: CTE) -> Insert:
    values = [new_value(_MOVEMENT.c[name]) for name in ("id", "kind", "state", "amount")]
    return insert(_MOVEMENT).from_select(
        ["id", "kind", "state", "amount", "purchase_id"], select(*values, purchase.c.id)
    )


def _begin_movement() -> Executable:
    purchase = _purchase().cte("known")
    begun = _insert_movement(purchase).on_conflict_do_nothing()
    return select(purchase.c.id).add_cte(begun.cte("written"))


def _end_movement() -> Executable:
    purchase = _purchase().cte("known")
    ended = _insert_movement(purchase)
    ended = ended.on_conflict_do_update(index_elements=["id"], set_={"state": ended.excluded.state})
    return select(purchase.c.id).add_cte(ended.cte("written"))


def _add_announcement() -> Executable:
    """Nobody removes the customer's data meanwhile."""
    purchase = (
        _purchase()
        .add_columns(_CUSTOMER.c.anonymized_at.is_not(None).label("is_anonymized"))
        .join(_CUSTOMER, _CUSTOMER.c.id == _PURCHASE.c.customer_id)
        .with_for_update(read=True, of=_CUSTOMER)
        .cte("known")
    )
    kept = bindparam("kept_facts", type_=_ANNOUNCEMENT.c.facts.type)
    facts = case((purchase.c.is_anonymized, kept), else_=new_value(_ANNOUNCEMENT.c.facts))
    values = [new_value(_ANNOUNCEMENT.c[name]) for name in ("id", "at", "subject")]
    added = (
        insert(_ANNOUNCEMENT)
        .from_select(["id", "at", "subject", "facts", "purchase_id"], select(*values, facts, purchase.c.id))
        .on_conflict_do_nothing()
    )
    return select(purchase.c.id).add_cte(added.cte("written"))


_FIND_OWNER: Final = _find_owner()
_INSERT_PURCHASE: Final = _insert_purchase()
_SET_STATUS: Final = _set_status()
_BEGIN_MOVEMENT: Final = _begin_movement()
_END_MOVEMENT: Final = _end_movement()
_ADD_ANNOUNCEMENT: Final = _add_announcement()
