"""Waiting for something to become true, which is the only waiting that tests do."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, overload

T = TypeVar("T")
_BUSY: Final = 2
"""How many times longer everything may take beside other workers, and other work of the machine."""

_RARER = 0.04
"""Share of the time waited so far that passes before the next question: asking costs what the answer needs."""


@overload
async def wait_until(
    condition: Callable[[], Awaitable[T]],
    timeout: float = ...,
    *,
    what: str = ...,
    every: float = ...,
    exact: bool = ...,
) -> T: ...


@overload
async def wait_until(
    condition: Callable[[], T], timeout: float = ..., *, what: str = ..., every: float = ..., exact: bool = ...
) -> T: ...


async def wait_until(
    condition: Callable[[], Any], timeout: float = 15, *, what: str = "", every: float = 0.05, exact: bool = False
) -> Any:
    """Ask again and again until the answer counts as true, and return it. Else fail the test.

    `timeout`: in how many seconds an idle machine gets there; a busy one has twice as many. With `exact` that time is
    itself what is tested, and there is no more.
    """
    limit = timeout if exact else timeout * _BUSY
    began = time.monotonic()
    end = began + limit
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit:g} s: {what or inspect.getsource(condition).strip()}")
        await asyncio.sleep(max(every, _RARER * (time.monotonic() - began)))


async def stays_so(condition: Callable[[], Awaitable[object] | object], seconds: float, *, what: str = "") -> None:
    """Fail the test if the condition stops being true within that time: for things that must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        assert await answer if inspect.isawaitable(answer) else answer, f"it did not stay so: {what}"
        await asyncio.sleep(0.05)
