"""Slow or outside work on rows: taken under a lease, done outside any transaction, settled under the lease's token.

Several instances may run the same job. A worker that was paused past its lease finds its token gone and
changes nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import CTE, Integer, Interval, Table, bindparam, func, literal_column, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from shared.contracts.values import ALL_CLIENTS
from shared.errors import Unavailable
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.recovery.error_classification import is_outage
from shared.messaging.service import Runtime
from shared.messaging.unit_of_work import UnitOfWork
from shared.observability.logs import logger
from shared.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")


class NotSettled(ExceptionGroup[Exception]):
    """Results that could not be written down, each for a reason of its own."""


@dataclass(frozen=True)
class Settled(Generic[T, R]):
    """An item in hand and what came of it; None: it was not tried, and goes back as it was."""

    item: T
    result: R | None


@dataclass(frozen=True)
class Capacity:
    """How much of a job's work this process has in hand."""

    at_once: int
    """So many items are acted on side by side."""
    lease: timedelta
    """So long an item is ours: longer than it waits here and is acted on."""
    ahead: int = 0
    """So many more are taken, so that the next is at hand when one is done."""
    start_within: timedelta = timedelta(days=1)
    """What has waited here for longer is put back untried, so that nothing is begun at the end of a lease."""


class Take(Protocol[T_co]):
    """Leases rows that are due, at most `limit`. Whoever called commits before anything is done."""

    def __call__(self, work: UnitOfWork, limit: int, lease: timedelta, /) -> Awaitable[Sequence[T_co]]: ...


class LeasedJob(Generic[S, T, R]):
    """Takes what is due, acts on it outside any transaction, and settles what came of it.

    One transaction settles the results that are there and takes the next items: as many as there are, and no timer
    waits for more. What is acted on outlives a round, so that a slow item holds nobody up. A result that cannot be
    settled with others is settled alone; one that cannot be settled at all is let go, and its lease ends.

    `act` raises Unavailable where the outside world is away and no item is to blame: then nothing more is taken, what
    has not begun goes back untried, and rounds fail until `probe` succeeds. It must give every other trouble a result:
    an item with which it breaks is let go too, and whether anything was done to it nobody knows.
    """

    every: Final = timedelta(seconds=1)
    wakes_itself: Final = True

    def __init__(
        self,
        name: str,
        *,
        actor: str,
        capacity: Callable[[S], Capacity],
        take: Take[T],
        act: Callable[[Runtime[S], T], Awaitable[R]],
        settle: Callable[[UnitOfWork, Sequence[Settled[T, R]]], Awaitable[object]],
        outside: str = "provider",
        probe: Callable[[Runtime[S]], Awaitable[None]] | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self._actor = actor
        self._capacity = capacity
        self._take = take
        self._act = act
        self._settle = settle
        self._outside = outside
        self._probe = probe
        self._close = close
        self._in_hand: set[asyncio.Task[Settled[T, R]]] = set()
        self._slots: asyncio.Semaphore | None = None
        self._trouble: Unavailable | None = None
        self._stopping = False

    async def round(self, runtime: Runtime[S]) -> int:
        """Settle what has a result, take what is due and begin to act on it; returns how many items were taken.

        Raises Unavailable while the outside world is away, and NotSettled for results that could not be written down.
        """
        if self._trouble is not None and not self._in_hand:
            await self._look_again(runtime)
        waiting = sum(not task.done() for task in self._in_hand)
        capacity = self._capacity(runtime.settings)
        room = 0 if self._trouble is not None else capacity.at_once + capacity.ahead - waiting
        taken = await self._turn(runtime, max(0, room))
        if self._trouble is not None and not self._in_hand:
            raise Unavailable(str(self._trouble))
        return taken

    async def finish(self, runtime: Runtime[S]) -> None:
        """Take nothing new, settle what was begun, and put back what was not."""
        self._stopping = True
        try:
            await self.drain(runtime)
        finally:
            if self._close is not None:
                await self._close()

    async def drain(self, runtime: Runtime[S]) -> None:
        """Settle all that is in hand, taking nothing more."""
        failures: list[Exception] = []
        while self._in_hand:
            await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
            try:
                await self._turn(runtime, 0)
            except NotSettled as error:
                failures += error.exceptions
        if failures:
            raise NotSettled(f"{self.name}: not settled; the leases end", failures)

    async def _look_again(self, runtime: Runtime[S]) -> None:
        if self._probe is not None:
            await self._probe(runtime)
        logger().info(f"{self._outside}_available", dependency=self._outside)
        self._trouble = None

    async def _turn(self, runtime: Runtime[S], room: int) -> int:
        """Settle what has a result and take what is due, in one transaction.

        Should the database be away, the results are kept for the next round.
        """
        done = [task for task in self._in_hand if task.done()]
        if not done and not room:
            return 0
        failures = [error for task in done if isinstance(error := task.exception(), Exception)]
        whole = [task for task in done if task.exception() is None]
        try:
            taken = await self._settle_and_take(runtime, [task.result() for task in whole], room)
        except Exception as error:
            if is_outage(error) or not whole:
                raise
            failures += await self._settle_one_by_one(runtime, whole)
            taken = await self._settle_and_take(runtime, [], room)
        self._in_hand.difference_update(done)
        self._begin(runtime, taken)
        if failures:
            raise NotSettled(f"{self.name}: not settled; the leases end", failures)
        return len(taken)

    async def _settle_one_by_one(
        self, runtime: Runtime[S], done: Sequence[asyncio.Task[Settled[T, R]]]
    ) -> list[Exception]:
        """What fails alone too stays in hand until all have been tried, so that an outage meanwhile hides nothing."""
        failures = []
        for task in done:
            try:
                await self._settle_and_take(runtime, [task.result()], 0)
            except Exception as error:
                if is_outage(error):
                    raise
                failures.append(error)
            else:
                self._in_hand.discard(task)
        return failures

    async def _settle_and_take(self, runtime: Runtime[S], settled: Sequence[Settled[T, R]], room: int) -> Sequence[T]:
        context = MessageContext(
            client_id=ALL_CLIENTS, actor=self._actor, message_id=None, correlation_id=str(new_id())
        )
        async with runtime.work(context) as work:
            if settled:
                await self._settle(work, settled)
            return await self._take(work, room, self._capacity(runtime.settings).lease) if room else ()

    def _begin(self, runtime: Runtime[S], taken: Sequence[T]) -> None:
        capacity = self._capacity(runtime.settings)
        if self._slots is None:
            self._slots = asyncio.Semaphore(capacity.at_once)
        start_by = time.monotonic() + capacity.start_within.total_seconds()
        for item in taken:
            task = asyncio.create_task(self._do(runtime, item, self._slots, start_by))
            task.add_done_callback(lambda _: runtime.wake(self.name))
            self._in_hand.add(task)

    async def _do(self, runtime: Runtime[S], item: T, slots: asyncio.Semaphore, start_by: float) -> Settled[T, R]:
        """Act on an item once there is a slot; one that may not begin any more is put back."""
        async with slots:
            if self._trouble is not None or self._stopping or time.monotonic() > start_by:
                return Settled(item, None)
            try:
                return Settled(item, await self._act(runtime, item))
            except Unavailable as trouble:
                if self._trouble is None:
                    logger().error(f"{self._outside}_unavailable", dependency=self._outside, text=str(trouble))
                self._trouble = trouble
                return Settled(item, None)


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
