"""What may be done with a purchase now, and why not. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from services.purchases.purchase.rules import PurchaseFacts, check_payable
from services.purchases.refund.rules import check_refundable
from shared.contracts import refusals
from shared.contracts.values import AllowedAction

CHECKS: Final[Mapping[str, Callable[[PurchaseFacts], None]]] = {
    "refund.request": check_refundable,
    "payment.record": check_payable,
}
"""Each action with the function that refuses its command too."""


def actions(purchase: PurchaseFacts) -> Iterator[AllowedAction]:
    """What may be done, in the order in which it is shown."""
    return refusals.actions(purchase, CHECKS)
