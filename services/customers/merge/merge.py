"""Two records, one customer: the merged one becomes an alias, and can be made a customer of its own again.

Nothing of either is rewritten, so that the undoing restores everything exactly, and other services need to know the
alias only. Rule: docs/domain.md, "Merging customers".
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import selectinload

from services.customers.customer.rules import Action, allowed, merge_obstacle
from services.customers.customer.store import (
    changed,
    check_version,
    contact_of,
    family,
    lock_customers,
    lock_for,
    not_found,
    note,
    of_client,
    one_at_a_time,
    receipt,
    refuse,
    standing,
)
from services.customers.customer.view import contact_views
from services.customers.models import Announcement, Customer, CustomerPurchase, SearchKey
from shared.contracts.customers import (
    CustomerChanged,
    CustomerMerged,
    CustomersMerged,
    CustomerUnmerged,
    MergeCustomers,
    MergedField,
    MergePlan,
    MergeSide,
    PreviewMerge,
    UnmergeCustomer,
)
from shared.contracts.purchases import ContactRole
from shared.messaging.unit_of_work import UnitOfWork


async def merge_customers(work: UnitOfWork, command: MergeCustomers) -> CustomersMerged:
    """The merged record is an alias of the survivor from now on; its purchases, past and later, are shown there.

    Raises `customer_not_found` (also for another client's), `same_customer`, `merge_cycle`, `customer_is_alias`,
    `customer_anonymized`, `refund_open`, `version_conflict`.
    """
    await one_at_a_time(work)
    rows = await lock_customers(work, command.survivor_id, command.merged_id)
    survivor, merged = rows[command.survivor_id], rows[command.merged_id]
    check_version(survivor, command.expected_survivor_version)
    check_version(merged, command.expected_merged_version)
    refuse(merge_obstacle(await standing(work, survivor), await standing(work, merged)))
    merged.merged_into_id = survivor.id
    merged.merged_at = datetime.now(UTC)
    merged.merged_by = work.context.actor
    merged.root_id = survivor.id
    await changed(work, merged, "customer.merged", {"survivor_id": str(survivor.id)})
    note(work, survivor.id, "customer.took_over", {"merged_id": str(merged.id)})
    await _show_under(work, merged.id, survivor.id)
    await work.publish(
        CustomerMerged(customer_id=merged.id, version=merged.version, survivor_id=survivor.id), order_key=merged.id
    )
    return CustomersMerged(**dict(receipt(merged)), survivor_id=survivor.id)


async def unmerge_customer(work: UnitOfWork, command: UnmergeCustomer) -> CustomerChanged:
    """The alias is a customer of its own again, with all that was merged into it before and came to it since.

    Raises `customer_not_found`, `version_conflict`, `customer_not_merged`, `customer_anonymized`.
    """
    await one_at_a_time(work)
    merged = await lock_for(work, Action.UNMERGE, command.customer_id, command.expected_version)
    survivor_id = merged.merged_into_id
    if survivor_id is None:
        raise LookupError("what was not merged cannot be unmerged")
    merged.merged_into_id = merged.merged_at = merged.merged_by = None
    merged.root_id = merged.id
    await changed(work, merged, "customer.unmerged", {"survivor_id": str(survivor_id)})
    note(work, survivor_id, "customer.gave_back", {"merged_id": str(merged.id)})
    await _show_under(work, merged.id, merged.id)
    await work.publish(
        CustomerUnmerged(customer_id=merged.id, version=merged.version, survivor_id=survivor_id), order_key=merged.id
    )
    return receipt(merged)


async def _show_under(work: UnitOfWork, member_id: UUID, root_id: UUID) -> None:
    """Everything that follows the record is shown under this customer."""
    await work.session.flush()
    members = family(member_id)
    await work.session.execute(
        update(Customer)
        .where(Customer.id.in_(members))
        .values(root_id=root_id)
        .execution_options(synchronize_session=False)
    )
    await work.session.execute(
        update(SearchKey)
        .where(SearchKey.customer_id.in_(family(member_id)))
        .values(root_id=root_id)
        .execution_options(synchronize_session=False)
    )


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
    no = merge_obstacle(await standing(work, survivor), await standing(work, merged))
    return MergePlan(
        survivor=sides[survivor.id],
        merged=sides[merged.id],
        differences=tuple(_differences(survivor, merged)),
        refusal=allowed(Action.MERGE, no),
    )


async def _customer(work: UnitOfWork, customer_id: UUID) -> Customer:
    customer = await work.session.scalar(
        select(Customer)
        .where(Customer.id == customer_id, *of_client(work.context.client_id))
        .options(selectinload(Customer.contacts))
    )
    if customer is None:
        raise not_found(customer_id=str(customer_id))
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
        stays: dict[str, Any] = contact_of(survivor, role).fields
        goes: dict[str, Any] = contact_of(merged, role).fields
        for field in sorted(stays.keys() | goes.keys()):
            if stays.get(field) != goes.get(field):
                yield MergedField(role=role, field=field, survivor=stays.get(field), merged=goes.get(field))
