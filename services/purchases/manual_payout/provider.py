"""The adapter of the refund port behind which a person pays."""

from datetime import datetime
from uuid import UUID

from services.purchases.manual_payout.store import Session, Sessions, alone, find_payout, insert_payout
from services.purchases.refund.provider import PaidOut, PayoutOutcome, PayoutRequest


class OtherPayoutUnderThisId(Exception):
    """The provider knows this refund id with another amount: somebody must look."""


class ManualProvider:
    """A person pays by hand; the payout is booked as done.

    Stands for the outside world: each of its statements is committed by itself, never with those of the refund.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def refund(self, request: PayoutRequest) -> PayoutOutcome:
        async with alone(self._sessions) as session:
            booked_at = await insert_payout(session, request)
            if booked_at is None:
                return await self._paid_before(session, request)
        return _paid_out(request.refund_id, booked_at)

    async def _paid_before(self, session: Session, request: PayoutRequest) -> PayoutOutcome:
        payout = await find_payout(session, request.refund_id)
        if payout is None or (payout.amount, payout.currency) != (request.amount, request.currency):
            raise OtherPayoutUnderThisId
        return _paid_out(payout.refund_id, payout.booked_at)

    async def find(self, refund_id: UUID) -> PayoutOutcome | None:
        async with alone(self._sessions) as session:
            payout = await find_payout(session, refund_id)
        return _paid_out(payout.refund_id, payout.booked_at) if payout else None


def _paid_out(refund_id: UUID, booked_at: datetime) -> PaidOut:
    return PaidOut(provider_reference=f"manual-{refund_id}", at=booked_at)
