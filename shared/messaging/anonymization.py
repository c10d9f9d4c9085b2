"""Taking personal data out of messages that have not left yet, and not storing any while it is being removed."""

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, Text, TextClause, bindparam, cast, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from shared.contracts.personal import REMOVED, anonymized
from shared.messaging.transaction.deferred_inserts import insert_deferred

_STORING: Final = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:key, 0))")
_REMOVING: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


async def anonymize_outbox(
    session: AsyncSession, outbox: Table, subjects: Sequence[str], *, records: Sequence[str] = ()
) -> None:
    """Waiting and set-aside messages about these subjects, or of these records, tell of nobody any more.

    Replies in the inbox need nothing: what commands answer holds no personal data, which a contract test proves.
    """
    await insert_deferred(session)
    about = outbox.c.headers["cloudEvents_subject"].astext
    statement = (
        select(outbox.c.id, outbox.c.body)
        .where(or_(about.in_(subjects), outbox.c.order_key.in_([*records, *subjects])))
        .with_for_update()
    )
    rows = (await session.execute(statement)).all()
    if rows:
        await session.execute(
            update(outbox)
            .where(outbox.c.id == bindparam("row"))
            .values(body=bindparam("erased"), headers=without_reason(outbox.c.headers)),
            [{"row": row.id, "erased": anonymized_body(row.body)} for row in rows],
        )


def without_reason(headers: Any) -> ColumnElement[Any]:
    """Stored headers without the words of whoever wanted it, which may tell of a person."""
    kept: ColumnElement[Any] = headers.op("-", return_type=JSONB())(cast("reason", Text))
    return kept


def anonymized_body(body: bytes) -> bytes:
    """A message without personal data; of what is not JSON, or nested beyond reason, nothing stays."""
    try:
        return json.dumps(anonymized(json.loads(body)), ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return REMOVED.encode()


async def lock_for_storing(session: AsyncSession, *subjects: str) -> None:
    """Wait for whoever removes data about these subjects: afterwards its tombstones are seen."""
    await _lock(session, subjects, _STORING)


async def lock_for_removing(session: AsyncSession, *subjects: str) -> None:
    """Wait for whoever stores data about these subjects, and keep others from it until the transaction ends."""
    await _lock(session, subjects, _REMOVING)


async def _lock(session: AsyncSession, subjects: Sequence[str], statement: TextClause) -> None:
    for subject in sorted(subjects):
        await session.execute(statement, {"key": f"aftersale-erasing/{subject}"})
