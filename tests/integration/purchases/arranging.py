"""Purchases as tests need them, made through the use cases, and a service without a broker to run them in."""

from dataclasses import dataclass
from typing import Any, ClassVar

from services.purchases.models import PurchasesTables
from services.purchases.purchase.record import record_purchase
from services.purchases.settings import Settings
from shared.contracts.message import Message
from shared.contracts.purchases import (
    PurchaseChanged,
    RecordPurchase,
    RefundKind,
    RefundLine,
    RefundReason,
    RequestRefund,
)
from shared.messaging.message_context import MessageContext
from tests.support.make import euros, order
from tests.support.service import ServiceUnderTest, context


@dataclass
class PurchasesService(ServiceUnderTest):
    """The purchases service as its use cases and jobs see it, on a real database."""

    name: ClassVar = "purchases"
    outbox: ClassVar = PurchasesTables.outbox
    settings: Settings

    async def sent_in(self, correlation_id: str) -> list[Message]:
        """What a flow has put into the outbox, in order."""
        return await self.sent(self.outbox.c.correlation_id == correlation_id)


async def recorded(
    service: PurchasesService, command: RecordPurchase | None = None, *, by: MessageContext | None = None
) -> PurchaseChanged:
    async with service.work(by or context()) as work:
        return await record_purchase(work, command or order())


def refund(
    purchase: PurchaseChanged,
    kind: RefundKind = RefundKind.TOTAL,
    *lines: RefundLine,
    expected_version: int | None = None,
    **fields: Any,
) -> RequestRefund:
    given: dict[str, Any] = {
        "reference_number": purchase.reference_number,
        "kind": kind,
        "lines": lines,
        "reason": RefundReason.GOODWILL,
        "expected_version": expected_version,
    }
    return RequestRefund(**(given | fields))


def some(running_number: int, amount: int) -> RefundLine:
    return RefundLine(running_number=running_number, amount=euros(amount))
