"""A payment provider that a test can make fail, kept to the same contract as the real ones."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

from services.purchases.payout import PaidOut, PayoutOutcome, PayoutRefused, PayoutRequest


async def _nothing(_request: PayoutRequest) -> None: ...


class ScriptedProvider:
    """Pays each refund id once. `before` and `after` run around the payment, and may raise or wait."""

    def __init__(
        self,
        *,
        refuse: str | None = None,
        before: Callable[[PayoutRequest], Awaitable[None]] = _nothing,
        after: Callable[[PayoutRequest], Awaitable[None]] = _nothing,
    ) -> None:
        self.outcomes: dict[UUID, PayoutOutcome] = {}
        self.requests: list[PayoutRequest] = []
        self.asked: list[UUID] = []
        self.refuse = refuse
        self.before = before
        self.after = after

    async def refund(self, request: PayoutRequest) -> PayoutOutcome:
        self.requests.append(request)
        await self.before(request)
        outcome = PayoutRefused(self.refuse) if self.refuse else PaidOut(f"out-{request.refund_id}", datetime.now(UTC))
        settled = self.outcomes.setdefault(request.refund_id, outcome)
        await self.after(request)
        return settled

    async def find(self, refund_id: UUID) -> PayoutOutcome | None:
        self.asked.append(refund_id)
        return self.outcomes.get(refund_id)
