"""Waiting for something to become true, which is the only waiting that tests do."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def wait_until(
    condition: Callable[[], Awaitable[T]], timeout: float = ..., *, what: str = ..., every: float = ...
) -> T: ...


@overload
async def wait_until(condition: Callable[[], T], timeout: float = ..., *, what: str = ..., every: float = ...) -> T: ...


async def wait_until(condition: Callable[[], Any], timeout: float = 15, *, what: str = "", every: float = 0.05) -> Any:
    """Ask again and again until the answer counts as true, and return it. Fails the test after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what or inspect.getsource(condition).strip()}")
        await asyncio.sleep(every)


async def stays_so(condition: Callable[[], Awaitable[object] | object], seconds: float, *, what: str = "") -> None:
    """Fail the test if the condition stops being true within that time: for things that must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        assert await answer if inspect.isawaitable(answer) else answer, f"it did not stay so: {what}"
        await asyncio.sleep(0.05)
