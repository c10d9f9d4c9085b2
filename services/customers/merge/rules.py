"""Which customers can be merged, and which merges undone. Pure. Rules: docs/domain.md, "Merging customers"."""

from services.customers.customer.rules import CustomerState, check_no_open_refund, check_not_anonymized
from shared.contracts.refusals import Refused


def check_merge(survivor: CustomerState, merged: CustomerState) -> None:
    """Raises Refused `same_customer`, `different_clients`, `merge_cycle`, `customer_anonymized`,
    `customer_is_alias`, `refund_open`."""
    if survivor.customer_id == merged.customer_id:
        raise Refused("same_customer", "A customer cannot be merged with itself.")
    if survivor.client_id != merged.client_id:
        raise Refused("different_clients", "Customers of different clients are different customers.")
    if survivor.merged_into == merged.customer_id:
        raise Refused("merge_cycle", "The survivor is an alias of the record that would be merged into it.")
    check_no_open_refund(survivor)
    check_no_open_refund(merged)


def check_unmerge(customer: CustomerState) -> None:
    """Raises Refused `customer_anonymized`, `customer_not_merged`."""
    check_not_anonymized(customer)
    if customer.merged_into is None:
        raise Refused("customer_not_merged", "The record was not merged into another customer.")
