"""Two records, one customer: the merged one becomes an alias.

Nothing of either is rewritten, so that the undoing restores everything exactly, and other services need to know the
alias only. Rule: docs/domain.md, "Merging customers".
"""

from datetime import UTC, datetime

from services.customers.customer.store import close_change, lock_client, lock_customers, read_state
from services.customers.merge.rules import check_merge
from services.customers.merge.store import show_under
from services.customers.store import add_entry
from shared.contracts.customers import CustomerMerged, CustomersMerged, MergeCustomers
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import check_version


async def merge_customers(work: UnitOfWork, command: MergeCustomers) -> CustomersMerged:
    """The merged record is an alias of the survivor from now on; its purchases, past and later, are shown there.

    Raises `customer_not_found` (also for another client's), `same_customer`, `merge_cycle`, `customer_is_alias`,
    `customer_anonymized`, `refund_open`, `version_conflict`.
    """
    await lock_client(work)
    customers = await lock_customers(work, command.survivor_id, command.merged_id)
    survivor, merged = customers[command.survivor_id], customers[command.merged_id]
    check_version(survivor, command.expected_survivor_version, customer_id=str(survivor.id))
    check_version(merged, command.expected_merged_version, customer_id=str(merged.id))
    check_merge(await read_state(work, survivor), await read_state(work, merged))
    merged.merged_into_id = survivor.id
    merged.merged_at = datetime.now(UTC)
    merged.merged_by = work.context.actor
    merged.root_id = survivor.id
    await show_under(work, merged.id, survivor.id)
    add_entry(work, survivor.id, "customer.took_over", {"merged_id": str(merged.id)})
    changed = await close_change(
        work,
        merged,
        "customer.merged",
        {"survivor_id": str(survivor.id)},
        events=lambda alias: [
            CustomerMerged(customer_id=alias.id, version=alias.version, survivor_id=survivor.id),
        ],
    )
    return CustomersMerged(**dict(changed), survivor_id=survivor.id)
