"""The rows of payouts that were made by hand. They stand for the outside world: nothing of ours refers to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from services.purchases.models import ManualPayout
from services.purchases.refund.provider import PayoutRequest

Session: TypeAlias = AsyncSession
Sessions: TypeAlias = async_sessionmaker[AsyncSession]
_INSERT: Final = insert(ManualPayout.__table__).on_conflict_do_nothing().returning(ManualPayout.__table__.c.booked_at)


@asynccontextmanager
async def alone(sessions: Sessions) -> AsyncIterator[Session]:
    """A session whose statements are each committed by themselves, never with those of the refund."""
    async with sessions() as session:
        await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        yield session


async def insert_payout(session: Session, request: PayoutRequest) -> datetime | None:
    """Book a payout; returns when, or None if there is one under this refund id."""
    booked_at: datetime | None = await session.scalar(
        _INSERT,
        {
            "refund_id": request.refund_id,
            "reference_number": request.reference_number,
            "amount": request.amount,
            "currency": request.currency,
        },
    )
    return booked_at


async def find_payout(session: Session, refund_id: UUID) -> ManualPayout | None:
    """The payout of a refund, if there is one."""
    return await session.get(ManualPayout, refund_id)
