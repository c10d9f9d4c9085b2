"""An alias is a customer of its own again. Rule: docs/domain.md, "Merging customers"."""

from services.customers.customer.store import close_change, lock_client, lock_customer
from services.customers.merge.rules import check_unmerge
from services.customers.merge.store import show_under
from services.customers.store import add_entry
from shared.contracts.customers import CustomerChanged, CustomerUnmerged, UnmergeCustomer
from shared.messaging.unit_of_work import UnitOfWork


async def unmerge_customer(work: UnitOfWork, command: UnmergeCustomer) -> CustomerChanged:
    """The alias is a customer of its own again, with all that was merged into it before and came to it since.

    Raises `customer_not_found`, `version_conflict`, `customer_not_merged`, `customer_anonymized`.
    """
    await lock_client(work)
    merged = await lock_customer(
        work, command.customer_id, expected_version=command.expected_version, check=check_unmerge
    )
    survivor_id = merged.merged_into_id
    if survivor_id is None:
        raise LookupError("what was not merged cannot be unmerged")
    merged.merged_into_id = merged.merged_at = merged.merged_by = None
    merged.root_id = merged.id
    await show_under(work, merged.id, merged.id)
    add_entry(work, survivor_id, "customer.gave_back", {"merged_id": str(merged.id)})
    return await close_change(
        work,
        merged,
        "customer.unmerged",
        {"survivor_id": str(survivor_id)},
        events=lambda customer: [
            CustomerUnmerged(customer_id=customer.id, version=customer.version, survivor_id=survivor_id),
        ],
    )
