"""Adapters of the refund port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.purchases.models import ManualPayout
from services.purchases.payout import PaidOut, PayoutOutcome, PayoutRequest, RefundProvider
from services.purchases.settings import Settings
from shared.messaging.service import Runtime

_INSERT: Final = insert(ManualPayout.__table__).on_conflict_do_nothing().returning(ManualPayout.__table__.c.booked_at)


class OtherPayoutUnderThisId(Exception):
    """The provider knows this refund id with another amount: somebody must look."""


class ManualProvider:
    """A person pays by hand; the payout is booked as done.

    Stands for the outside world: each of its statements is committed by itself, never with those of the refund.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def refund(self, request: PayoutRequest) -> PayoutOutcome:
        async with self._alone() as session:
            booked_at = await session.scalar(
                _INSERT,
                {
                    "refund_id": request.refund_id,
                    "reference_number": request.reference_number,
                    "amount": request.amount,
                    "currency": request.currency,
                },
            )
            if booked_at is None:
                return await self._paid_before(session, request)
        return _paid_out(request.refund_id, booked_at)

    async def _paid_before(self, session: AsyncSession, request: PayoutRequest) -> PayoutOutcome:
        payout = await session.get_one(ManualPayout, request.refund_id)
        if (payout.amount, payout.currency) != (request.amount, request.currency):
            raise OtherPayoutUnderThisId
        return _paid_out(payout.refund_id, payout.booked_at)

    async def find(self, refund_id: UUID) -> PayoutOutcome | None:
        async with self._alone() as session:
            payout = await session.get(ManualPayout, refund_id)
        return _paid_out(payout.refund_id, payout.booked_at) if payout else None

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[AsyncSession]:
        async with self._sessions() as session:
            await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            yield session


def _paid_out(refund_id: UUID, booked_at: datetime) -> PaidOut:
    return PaidOut(provider_reference=f"manual-{refund_id}", at=booked_at)


def provider_of(runtime: Runtime[Settings]) -> RefundProvider:
    """The provider that the settings name."""
    match runtime.settings.refund_provider:
        case "manual":
            return ManualProvider(runtime.sessions)
