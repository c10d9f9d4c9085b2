"""What a piece of work asks of the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker


@contextmanager
def noted_statements(sessions: async_sessionmaker[AsyncSession]) -> Iterator[list[str]]:
    """Every statement that goes to the database of these sessions within the block."""
    engine, noted = sessions.kw["bind"].sync_engine, list[str]()

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        noted.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield noted
    finally:
        event.remove(engine, "before_cursor_execute", note)
