"""What every service clears away by itself."""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, any_, delete, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from shared.messaging.service import PeriodicJob, Runtime

INBOX_WINDOW: Final = timedelta(days=30)
"""So long a repeat of a command gets the stored reply. Later the record's own keys are the safety."""
BATCH: Final = 5000


def inbox_purge(inbox: Table) -> PeriodicJob[Any]:
    """The job that forgets handled messages after the window, a batch at a time."""

    async def forget(runtime: Runtime[Any]) -> int:
        return await forget_handled(runtime.sessions, inbox)

    return PeriodicJob("inbox purge", forget, every=timedelta(minutes=10))


async def forget_handled(sessions: async_sessionmaker[AsyncSession], inbox: Table) -> int:
    """Delete one batch of inbox rows older than the window; returns how many.

    The oldest first, straight from the index: a round costs the same in an inbox of any size.
    """
    place: ColumnElement[Any] = literal_column("ctid")
    old = (
        select(place)
        .select_from(inbox)
        .where(inbox.c.received_at < func.now() - INBOX_WINDOW)
        .order_by(inbox.c.received_at)
        .limit(BATCH)
    )
    # As an array, the rows are visited in the order of their places. A join visits them in any, and two purges at once
    # could wait for each other.
    places = func.array(old.scalar_subquery())
    async with sessions() as session, session.begin():
        gone = await session.execute(delete(inbox).where(place == any_(places)).returning(inbox.c.handler))
        return len(gone.all())
