"""Rows that nothing reads before the commit: a transaction stores them at its end, together for all its messages."""

from typing import Any, Final

from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncSession

_KEY: Final = "aftersale.deferred_inserts"
Row = dict[str, Any]


def defer_inserts(session: AsyncSession, table: Table, *rows: Row) -> None:
    """Store these rows before the commit, after everything else. Rows of a table name the same columns.

    Only for what this transaction does not read or change again; whoever must all the same calls
    `insert_deferred` before.
    """
    if rows:
        session.info.setdefault(_KEY, {}).setdefault(table, []).extend(rows)


def deferred_rows(session: AsyncSession) -> int:
    """How many rows wait."""
    return sum(map(len, session.info.get(_KEY, {}).values()))


async def insert_deferred(session: AsyncSession) -> None:
    """Store what waits, one statement for each table."""
    waiting: dict[Table, list[Row]] = session.info.pop(_KEY, {})
    for table, rows in waiting.items():
        await session.execute(insert(table), rows)
