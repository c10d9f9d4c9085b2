"""Rows that a job takes for a while, works on outside any transaction, and settles under its token.

Several instances may run the same job. A worker that was paused past its lease finds its token gone and
changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column


class Leased:
    """Columns of a row that jobs work on."""

    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When a job may take the row; the database's clock decides."""
    attempts: Mapped[int] = mapped_column(default=0)
    lease_token: Mapped[UUID | None]
    leased_until: Mapped[datetime | None]


L = TypeVar("L", bound=Leased)


async def take(
    session: AsyncSession,
    model: type[L],
    *where: ColumnElement[bool],
    limit: int,
    lease: timedelta,
    options: Sequence[Any] = (),
) -> list[L]:
    """Lease due rows that nobody holds, oldest first. Each counts one more attempt. The caller commits."""
    rows = (
        await session.execute(
            select(model, func.now() + lease)
            .where(
                *where,
                model.due_at <= func.now(),
                (model.leased_until.is_(None)) | (model.leased_until <= func.now()),
            )
            .order_by(model.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True, of=model)
            .options(*options)
        )
    ).all()
    for row, until in rows:
        row.lease_token = uuid4()
        row.leased_until = until
        row.attempts += 1
    return [row for row, _ in rows]


async def held(session: AsyncSession, model: type[L], row_id: UUID, token: UUID) -> L | None:
    """The row, locked, if the lease is still ours; None if another worker has taken it since."""
    row = await session.get(model, row_id, with_for_update={"of": model})
    return row if row is not None and row.lease_token == token else None


def release(row: Leased) -> None:
    """End the lease. The caller commits."""
    row.lease_token = None
    row.leased_until = None
