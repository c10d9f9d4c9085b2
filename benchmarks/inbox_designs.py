"""Ways to keep the inbox that are measured against each other."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

from shared.messaging.host.housekeeping import BATCH, INBOX_WINDOW, forget_handled
from shared.messaging.transaction.tables import inbox_table

if TYPE_CHECKING:
    import asyncpg

Sessions = async_sessionmaker[AsyncSession]
Forget = Callable[["asyncpg.Connection[Any]", Sessions], Awaitable[int]]

HISTORY: Final = timedelta(days=36)
"""The oldest rows of the benchmark are younger than this."""
_AHEAD: Final = timedelta(days=2)
_DAY: Final = timedelta(days=1)
_INBOX: Final = inbox_table(MetaData())
_COLUMNS: Final = """
CREATE TABLE inbox (
    message_id uuid NOT NULL, handler varchar(100) NOT NULL, fingerprint bytea NOT NULL, reply_type varchar(40),
    reply bytea, received_at timestamptz NOT NULL DEFAULT now(), CONSTRAINT pk_inbox PRIMARY KEY (message_id, handler)
)
"""
_FORGET: Final = """
WITH gone AS (
    DELETE FROM {table} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {table} WHERE received_at < now() - $1::interval {order} LIMIT $2)) RETURNING 1
) SELECT count(*) FROM gone
"""


@dataclass(frozen=True)
class Design:
    """A way to keep the inbox. `forget` does one round and returns how many rows it has found."""

    name: str
    make: Callable[[], list[str]]
    forget: Forget


def first_id(moment: datetime) -> UUID:
    """The lowest UUIDv7 of a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def days() -> list[datetime]:
    """The beginnings of all days that have a partition."""
    today = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    return [today + offset * _DAY for offset in range(-HISTORY.days, _AHEAD.days + 1)]


def _ours() -> list[str]:
    dialect = create_async_engine("postgresql+asyncpg://").dialect
    made: list[DDLElement] = [CreateTable(_INBOX), *(CreateIndex(index) for index in _INBOX.indexes)]
    return [str(one.compile(dialect=dialect)) for one in made]


async def _forget_ours(_connection: "asyncpg.Connection[Any]", sessions: Sessions) -> int:
    return await forget_handled(sessions, _INBOX)


def _one_table(index: str) -> list[str]:
    return [_COLUMNS, f"CREATE INDEX ix_inbox_received_at ON inbox USING {index} (received_at)"]


def _forgetting(table: str, order: str = "") -> Forget:
    statement = _FORGET.format(table=table, order=order)

    async def forget(connection: "asyncpg.Connection[Any]", _sessions: Sessions) -> int:
        return int(await connection.fetchval(statement, INBOX_WINDOW, BATCH))

    return forget


def _partitions() -> list[str]:
    """A partition for every day of UUIDv7, and one for ids of other kinds and of clocks far off."""
    made = [f"{_COLUMNS} PARTITION BY RANGE (message_id)", "CREATE TABLE inbox_default PARTITION OF inbox DEFAULT"]
    for day in days():
        bounds = f"FROM ('{first_id(day)}') TO ('{first_id(day + _DAY)}')"
        made.append(f"CREATE TABLE {_partition(day)} PARTITION OF inbox FOR VALUES {bounds}")
    return [*made, "CREATE INDEX ix_inbox_received_at ON inbox USING brin (received_at)"]


async def _forget_partition(connection: "asyncpg.Connection[Any]", sessions: Sessions) -> int:
    """Drop the oldest partition whose last moment is past the window; then old rows of the default partition."""
    for day in days():
        if day + _DAY < datetime.now(UTC) - INBOX_WINDOW:
            name = _partition(day)
            if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
                rows = await connection.fetchval("SELECT reltuples::bigint FROM pg_class WHERE relname = $1", name)
                await connection.execute(f"DROP TABLE {name}")
                return max(1, int(rows))
    return await _forgetting("inbox_default")(connection, sessions)


def _partition(day: datetime) -> str:
    return f"inbox_{day:%Y%m%d}"


OURS: Final = "as it is"
PARTITIONS: Final = "partitions by day"
DESIGNS: Final = (
    Design(OURS, _ours, _forget_ours),
    Design("index of page ranges", lambda: _one_table("brin"), _forgetting("inbox")),
    Design(PARTITIONS, _partitions, _forget_partition),
)
