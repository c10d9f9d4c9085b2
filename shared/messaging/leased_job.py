"""Rows that a job takes for a while, works on outside any transaction, and settles under its token.

Several instances may run the same job. A worker that was paused past its lease finds its token gone and
changes nothing.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, Integer, Interval, Table, bindparam, func, literal_column, or_, select
from sqlalchemy.orm import Mapped, mapped_column


class Leased:
    """Columns of a row that jobs work on."""

    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When a job may take the row; the database's clock decides."""
    attempts: Mapped[int] = mapped_column(default=0)
    lease_token: Mapped[UUID | None]
    leased_until: Mapped[datetime | None]


def due(table: Table, open_: str) -> CTE:
    """What may be taken, locked: due and held by nobody, oldest first, at most `limit` rows.

    Rows that somebody else has locked are passed over, so whoever takes waits for nobody. `open_` is the condition of
    the index that finds them, word for word: behind parameters it would not be recognized.
    """
    now = func.now()
    return (
        select(table.c.id, table.c.state, table.c.due_at)
        .where(
            literal_column(open_),
            table.c.due_at <= now,
            or_(table.c.leased_until.is_(None), table.c.leased_until <= now),
        )
        .order_by(table.c.due_at)
        .limit(bindparam("limit", type_=Integer))
        .with_for_update(skip_locked=True)
        .cte("due")
    )


def leasing(table: Table) -> dict[str, Any]:
    """What an update sets to lease a row for the time `lease`; it counts one more attempt. The caller commits."""
    return {
        "attempts": table.c.attempts + 1,
        "lease_token": func.gen_random_uuid(),
        "leased_until": func.now() + bindparam("lease", type_=Interval),
    }


def release(row: Leased) -> None:
    """End the lease. The caller commits."""
    row.lease_token = None
    row.leased_until = None
