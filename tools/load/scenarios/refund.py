"""Refunds of paid purchases: from the command to the confirmation in the customer's mailbox."""

from collections import deque
from collections.abc import Iterator
from typing import ClassVar

from shared.contracts.purchases import RefundKind, RefundReason, RequestRefund
from tools.load.fill import Filled, fill_few
from tools.load.scenario import Scenario
from tools.load.shots import CONFIRMATION, Shot, shot
from tools.load.world import World


class Refund(Scenario):
    name: ClassVar[str] = "refund"
    summary: ClassVar[str] = "total refunds, until the confirmation is delivered and every listener is done"
    rate: ClassVar[float] = 30

    def __init__(self) -> None:
        self.paid: deque[Filled] = deque()

    async def prepare(self, world: World, count: int) -> None:
        """Paid purchases, straight into the databases."""
        self.paid.extend(await fill_few(world, count))

    def shots(self, world: World) -> Iterator[Shot]:
        while self.paid:
            yield refund_of(self.paid.popleft())


def refund_of(purchase: Filled) -> Shot:
    """The refund of all that was paid."""
    command = RequestRefund(
        client_order_id=purchase.order,
        kind=RefundKind.TOTAL,
        reason=RefundReason.CUSTOMER_ERROR,
        client_refund_id=f"R{purchase.order}",
    )
    return shot("refund", command, order=purchase.order, amount=purchase.amount, mail=CONFIRMATION)


scenario = Refund()
