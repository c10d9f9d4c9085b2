"""Who may be the same customer, and what a merge would do. Rule: docs/domain.md, "Merging customers"."""

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import selectinload

from services.customers.customer.store import customer_not_found, family, read_state
from services.customers.customer.view import contact_views
from services.customers.merge.rules import check_merge
from services.customers.models import Announcement, Customer, CustomerPurchase, SearchKey
from services.customers.search_rules import KeyKind
from shared.contracts.customers import (
    DuplicatePage,
    DuplicateReason,
    DuplicateSuggestion,
    ListDuplicates,
    MergedField,
    MergePlan,
    MergeSide,
    PreviewMerge,
)
from shared.contracts.purchases import ContactRole
from shared.contracts.refusals import Refused, actions
from shared.contracts.values import ALL_CLIENTS
from shared.messaging.pagination import cursor_position
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import page, visible_to

_REASONS: Final = {
    KeyKind.EMAIL: DuplicateReason.SAME_EMAIL,
    KeyKind.LIKENESS: DuplicateReason.SAME_NAME_AND_PLACE,
}
_SHOWN: Final = 10


async def preview_merge(work: UnitOfWork, query: PreviewMerge) -> MergePlan:
    """What a merge would do, or why it would be refused; the survivor is proposed unless it is named.

    Raises `customer_not_found`.
    """
    first, second = [await _customer(work, customer_id) for customer_id in query.customer_ids]
    sides = {customer.id: await _side(work, customer) for customer in (first, second)}
    survivor, merged = first, second
    if query.survivor_id is None:
        survivor, merged = sorted((first, second), key=lambda c: (-sides[c.id].purchases, c.id))
    elif query.survivor_id == second.id:
        survivor, merged = second, first
    pair = await read_state(work, survivor), await read_state(work, merged)
    (refusal,) = actions(pair, {"customer.merge": lambda pair: check_merge(*pair)})
    return MergePlan(
        survivor=sides[survivor.id],
        merged=sides[merged.id],
        differences=tuple(_differences(survivor, merged)),
        refusal=refusal,
    )


async def _customer(work: UnitOfWork, customer_id: UUID) -> Customer:
    customer = await work.session.scalar(
        select(Customer)
        .where(Customer.id == customer_id, *visible_to(work.context.client_id, Customer.client_id))
        .options(selectinload(Customer.contacts))
    )
    if customer is None:
        raise customer_not_found(customer_id=str(customer_id))
    return customer


async def _side(work: UnitOfWork, customer: Customer) -> MergeSide:
    members = family(customer.id)
    of_members = select(CustomerPurchase.id).where(CustomerPurchase.customer_id.in_(members))
    counts = select(
        select(func.count()).select_from(of_members.subquery()).scalar_subquery(),
        select(func.count()).where(Announcement.purchase_id.in_(of_members)).scalar_subquery(),
        select(func.count()).select_from(members.subquery()).scalar_subquery(),
    )
    purchases, announcements, records = (await work.session.execute(counts)).one()
    return MergeSide(
        customer_id=customer.id,
        customer_reference=customer.customer_reference,
        created_at=customer.created_at,
        version=customer.version,
        contacts=contact_views(customer),
        purchases=purchases,
        announcements=announcements,
        aliases=records - 1,
    )


def _differences(survivor: Customer, merged: Customer) -> Iterable[MergedField]:
    for role in ContactRole:
        stays: dict[str, Any] = survivor.contact(role).fields
        goes: dict[str, Any] = merged.contact(role).fields
        for field in sorted(stays.keys() | goes.keys()):
            if stays.get(field) != goes.get(field):
                yield MergedField(role=role, field=field, survivor=stays.get(field), merged=goes.get(field))


async def list_duplicates(work: UnitOfWork, query: ListDuplicates) -> DuplicatePage:
    """Groups of customers with the same e-mail address, then of those with the same name at the same place.

    Customers of different clients are never the same. Raises `cursor_invalid`, `one_client_only`.
    """
    if work.context.client_id == ALL_CLIENTS:
        raise Refused("one_client_only", "Duplicates are looked for within one client.")
    position = cursor_position(work, query)
    after = _term(position) if position is not None else None
    found = (await work.session.execute(duplicates_statement(work.context.client_id, after, query.limit + 1))).all()
    shown = page(found, _position, work, query)
    return DuplicatePage(rows=tuple(_suggestion(row) for row in shown.rows), next_cursor=shown.next_cursor)


def _suggestion(row: Any) -> DuplicateSuggestion:
    return DuplicateSuggestion(reason=_REASONS[row.kind], customer_ids=tuple(row.ids[:_SHOWN]), customers=row.customers)


def duplicates_statement(client_id: str, after: tuple[str, str] | None, limit: int) -> Select[Any, Any, Any, Any]:
    """One walk through the client's part of the index; groups come in the order of their terms."""
    ids = func.array_agg(SearchKey.root_id.distinct())
    statement = (
        select(
            SearchKey.kind,
            SearchKey.term,
            ids.label("ids"),
            func.count(SearchKey.root_id.distinct()).label("customers"),
        )
        .where(SearchKey.client_id == client_id, SearchKey.kind.in_(_REASONS))
        .group_by(SearchKey.kind, SearchKey.term)
        .having(func.count(SearchKey.root_id.distinct()) > 1)
        .order_by(SearchKey.kind, SearchKey.term)
        .limit(limit)
    )
    if after is None:
        return statement
    return statement.where(tuple_(SearchKey.kind, SearchKey.term) > tuple_(*after))


def _position(row: Any) -> bytes:
    return f"{row.kind}\n{row.term}".encode()


def _term(position: bytes) -> tuple[str, str]:
    kind, _, term = position.decode().partition("\n")
    return kind, term
