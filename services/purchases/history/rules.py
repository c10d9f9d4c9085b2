"""What stays of the history of a purchase whose customer is forgotten. Pure.

Rule: docs/domain.md, "Removing personal data".
"""

from collections.abc import Mapping
from typing import Final

from shared.contracts.personal import REMOVED
from shared.contracts.purchases import RefundReason

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


def anonymized_facts(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """The facts of a history entry without what a person may have written, or what tells of one."""
    return {name: fact if _tells_of_nobody(name, fact) else REMOVED for name, fact in facts.items()}


def _tells_of_nobody(name: str, fact: Fact) -> bool:
    return name in _TELL_OF_NOBODY or not isinstance(fact, str) or (name == "reason" and fact in _REASONS)
