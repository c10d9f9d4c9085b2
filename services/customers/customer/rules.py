"""What the state of a customer allows, and what may stay of one that is forgotten. Pure.

Rules: docs/domain.md, "Customers", "Removing personal data".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from shared.contracts.refusals import Refused


@dataclass(frozen=True)
class CustomerState:
    """What the rules want to know of a customer."""

    customer_id: UUID
    client_id: str
    merged_into: UUID | None
    anonymized: bool
    open_refunds: int
    """Of all its purchases, those of its aliases among them."""
    contacts: int
    """How many different contacts its three roles have."""


def check_not_anonymized(customer: CustomerState) -> None:
    """Raises Refused `customer_anonymized`."""
    if customer.anonymized:
        raise Refused("customer_anonymized", "The personal data of this customer have been removed.")


def check_changeable(customer: CustomerState) -> None:
    """An alias is changed at its customer. Raises Refused `customer_anonymized`, `customer_is_alias`."""
    check_not_anonymized(customer)
    if customer.merged_into is not None:
        raise Refused("customer_is_alias", "The record was merged into another customer; change that one.")


def check_no_open_refund(customer: CustomerState) -> None:
    """What needs the whole customer waits for its refunds.

    Raises Refused `customer_anonymized`, `customer_is_alias`, `refund_open`.
    """
    check_changeable(customer)
    if customer.open_refunds:
        raise Refused("refund_open", "A refund of this customer is on its way; wait for its end.")


_TELL_OF_NOBODY: Final = frozenset({"attempt", "email_id", "email_type"})


def kept_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What may stay of the facts that another service told, when the customer is anonymized."""
    return {name: fact for name, fact in facts.items() if name in _TELL_OF_NOBODY}
