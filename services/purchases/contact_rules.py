"""When the contacts of a purchase may still change, and what stays of a purchase whose customer is forgotten. Pure.

Rules: docs/domain.md, "Contacts of a customer", "Removing personal data".
"""

from collections.abc import Mapping
from typing import Final

from services.purchases.domain import NotAllowed
from shared.contracts.personal import REMOVED
from shared.contracts.purchases import UNPAID, PurchaseStatus, RefundReason

Fact = str | int | bool | None

_TELL_OF_NOBODY: Final = frozenset(
    {
        "amount",
        "attempt",
        "client_refund_id",
        "currency",
        "email_id",
        "email_type",
        "gross",
        "kind",
        "payment_id",
        "refund_id",
        "roles",
        "status",
    }
)
_REASONS: Final = frozenset(reason.value for reason in RefundReason)


def check_contacts_changeable(status: PurchaseStatus, paid: int, *, is_anonymized: bool) -> None:
    """Raises NotAllowed `purchase_already_paid`, `purchase_anonymized`."""
    if is_anonymized:
        raise NotAllowed("purchase_anonymized", "The personal data of this purchase have been removed.")
    if paid or status not in UNPAID:
        raise NotAllowed(
            "purchase_already_paid", "The contacts of a purchase change only before it is paid.", status=status
        )


def anonymized_facts(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """The facts of a history entry without what a person may have written, or what tells of one."""
    return {name: fact if _tells_of_nobody(name, fact) else REMOVED for name, fact in facts.items()}


def _tells_of_nobody(name: str, fact: Fact) -> bool:
    return name in _TELL_OF_NOBODY or not isinstance(fact, str) or (name == "reason" and fact in _REASONS)
