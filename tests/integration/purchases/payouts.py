"""The payout job by hand, and a payment provider that a test can make fail, kept to the contract of the real ones."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, update

from services.purchases.models import Purchase, Refund
from services.purchases.refund.job import payout_job
from services.purchases.refund.provider import PaidOut, PayoutOutcome, PayoutRefused, PayoutRequest, RefundProvider
from services.purchases.refund.request import request_refund
from shared.contracts.purchases import PurchaseChanged, RefundKind
from shared.messaging.message_context import MessageContext
from tests.integration.purchases.arranging import PurchasesService, recorded, refund, some
from tests.support.service import context


async def let_wait(service: PurchasesService) -> None:
    async with service.sessions() as session, session.begin():
        await session.execute(
            update(Refund).where(Refund.state.in_(Refund.OPEN)).values(due_at=func.now() + timedelta(days=9))
        )


async def a_refund(
    service: PurchasesService, purchase: PurchaseChanged | None = None, amount: int = 0
) -> MessageContext:
    purchase = purchase or await recorded(service)
    by = context(actor="user:kim")
    lines = (some(1, amount),) if amount else ()
    async with service.work(by) as work:
        await request_refund(work, refund(purchase, RefundKind.AMOUNT if amount else RefundKind.TOTAL, *lines))
    return by


async def stored(service: PurchasesService, by: MessageContext) -> tuple[Refund, Purchase]:
    async with service.sessions() as session:
        row = (await session.execute(select(Refund, Purchase).join(Purchase).where(Refund.id == by.message_id))).one()
    return row[0], row[1]


async def due_now(service: PurchasesService, by: MessageContext) -> None:
    """As if the lease had run out and the delay had passed."""
    async with service.sessions() as session, session.begin():
        await session.execute(
            update(Refund)
            .where(Refund.id == by.message_id)
            .values(due_at=func.now(), leased_until=func.now() - timedelta(seconds=1))
        )


async def news(service: PurchasesService, by: MessageContext) -> list[str]:
    sent = await service.sent_in(by.correlation_id)
    return [type(message).__name__ for message in sent[2:]]


async def hand_out_refunds(service: PurchasesService, provider: RefundProvider) -> int:
    """Pay all that is due and book the outcomes; returns how many refunds were taken."""
    job, taken = payout_job(lambda _: provider), 0
    while found := await job.round(service):
        taken += found
        await job.drain(service)
    return taken


async def _nothing(_request: PayoutRequest) -> None: ...


class ScriptedProvider:
    """Pays each refund id once, or says what it is told. `before` and `after` run around it, and may raise or wait."""

    def __init__(
        self,
        *,
        refuse: str | None = None,
        answer: PayoutOutcome | None = None,
        before: Callable[[PayoutRequest], Awaitable[None]] = _nothing,
        after: Callable[[PayoutRequest], Awaitable[None]] = _nothing,
    ) -> None:
        self.outcomes: dict[UUID, PayoutOutcome] = {}
        self.requests: list[PayoutRequest] = []
        self.asked: list[UUID] = []
        self.answer = PayoutRefused(refuse) if refuse else answer
        self.before = before
        self.after = after

    async def refund(self, request: PayoutRequest) -> PayoutOutcome:
        self.requests.append(request)
        await self.before(request)
        outcome = self.answer or PaidOut(f"out-{request.refund_id}", datetime.now(UTC))
        settled = self.outcomes.setdefault(request.refund_id, outcome)
        await self.after(request)
        return settled

    async def find(self, refund_id: UUID) -> PayoutOutcome | None:
        self.asked.append(refund_id)
        return self.outcomes.get(refund_id)
