"""Telling trouble apart: the outside is gone, two transactions collided, or the work itself is at fault."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiormq.exceptions import AMQPError, DeliveryError
from asyncpg import exceptions as postgres
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.errors import Unavailable

_OUTAGE_CLASSES: Final = ("08", "53", "57P", "58")
"""Connection exceptions, out of resources (disk full, too many connections), operator intervention, system errors."""
_OUTAGE_STATES: Final = frozenset({"25006", "3D000", "28P01"})
"""Connected to a standby; the database or the password is being replaced."""
_COLLISIONS: Final = frozenset({"40001", "40P01", "55P03", "23505"})
"""Serialization failure, deadlock, lock not available, and a unique value that another transaction just took."""


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's code of an error, if it comes from there."""
    cause: BaseException | None = error
    while cause is not None:
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str):
            return state
        cause = getattr(cause, "orig", None) or cause.__cause__
    return None


def is_outage(error: BaseException) -> bool:
    """The database or the broker is away: waiting helps, trying the next message does not."""
    if isinstance(error, (Unavailable, OSError, asyncio.TimeoutError, PoolTimeout, InterfaceError)):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, postgres.InternalClientError):
        return True
    state = sqlstate(error)
    return state is not None and (state.startswith(_OUTAGE_CLASSES) or state in _OUTAGE_STATES)


def is_collision(error: BaseException) -> bool:
    """Two transactions got into each other's way; repeating the whole transaction settles it."""
    return sqlstate(error) in _COLLISIONS


class BrokerLost(Exception):
    """The broker, or the way to it, broke while something was asked of it. Whether it was done is not known."""


@contextmanager
def broker_may_break() -> Iterator[None]:
    """Turns whatever comes out of the client library when the broker goes away into BrokerLost.

    aiormq cancels its own waiters when a connection breaks, and lets `StopAsyncIteration` of its frame reader out.
    Neither may end a loop. A cancellation by somebody else passes, and so does the broker's answer that it does not
    take a message.
    """
    try:
        yield
    except DeliveryError:
        raise  # The broker answered: it does not take the message.
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerLost("connection lost") from None
    except (TimeoutError, AMQPError, OSError, RuntimeError, StopAsyncIteration) as error:
        raise BrokerLost(type(error).__name__) from error
