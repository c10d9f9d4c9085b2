"""A leased job on rows of its own: what is taken, what becomes of it, and what is kept when something breaks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import CheckConstraint, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapped, mapped_column

from services.purchases.settings import Settings
from shared.database import ServiceTables, create_engine, create_sessions
from shared.errors import Unavailable
from shared.messaging.leased_job import Capacity, Leased, LeasedJob, NotSettled, Settled, due, leasing
from shared.messaging.message_context import MessageContext
from shared.messaging.service import Runtime
from shared.messaging.unit_of_work import UnitOfWork, open_unit_of_work
from tests.support.servers import TestServers
from tests.support.wait import wait_until


class Shelf(ServiceTables):
    __abstract__ = True


class Parcel(Leased, Shelf):
    """What the job works on. The database takes none that is broken."""

    __tablename__ = "parcel"
    __table_args__ = (CheckConstraint("state <> 'broken'", name="whole"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="waiting")


@dataclass(frozen=True)
class Taken:
    number: int
    token: UUID


ParcelJob = LeasedJob[Settings, Taken, str]
PARCEL = Parcel.__table__


async def take(work: UnitOfWork, limit: int, lease: timedelta) -> list[Taken]:
    waiting = due(PARCEL, "state = 'waiting'")
    held = update(PARCEL).where(PARCEL.c.id == waiting.c.id).values(**leasing(PARCEL))
    rows = await work.session.execute(
        held.returning(PARCEL.c.id, PARCEL.c.lease_token), {"limit": limit, "lease": lease}
    )
    return [Taken(number, token) for number, token in sorted(rows.all())]


async def settle(work: UnitOfWork, settled: Sequence[Settled[Taken, str]]) -> None:
    for one in settled:
        outcome: dict[str, Any] = {"state": one.result} if one.result else {"attempts": PARCEL.c.attempts - 1}
        mine = update(PARCEL).where(PARCEL.c.id == one.item.number, PARCEL.c.lease_token == one.item.token)
        await work.session.execute(mine.values(lease_token=None, leased_until=None, **outcome))


@dataclass
class Place:
    """Where the job runs: on a real database, to which some pieces of work find no way."""

    sessions: async_sessionmaker[AsyncSession]
    settings: Settings
    works: int = 0
    without_database: set[int] = field(default_factory=set)
    results: int = 0

    @asynccontextmanager
    async def work(self, context: MessageContext) -> AsyncIterator[UnitOfWork]:
        self.works += 1
        if self.works in self.without_database:
            raise ConnectionError
        async with open_unit_of_work(self.sessions, service="shelf", outbox=Shelf.outbox, context=context) as work:
            yield work

    def wake(self, name: str) -> None:
        assert name == "parcels"
        self.results += 1

    async def has_results(self, count: int) -> None:
        await wait_until(lambda: self.results == count, what=f"{count} results are there")

    async def parcels(self) -> list[str]:
        """State, a star where it is held, and how often it was taken."""
        async with self.sessions() as session:
            rows = (await session.scalars(select(Parcel).order_by(Parcel.id))).all()
        return [f"{row.state}{'*' if row.lease_token else ''} {row.attempts}" for row in rows]


def job_of(act: Callable[[int], Awaitable[str]], *, at_once: int = 3, **given: Any) -> ParcelJob:
    """Three parcels in hand, `at_once` of them acted on."""

    async def act_on(_runtime: Runtime[Settings], taken: Taken) -> str:
        return await act(taken.number)

    capacity = Capacity(at_once, lease=timedelta(minutes=1), ahead=3 - at_once)
    actor = "service:shelf"
    return LeasedJob("parcels", actor=actor, capacity=lambda _: capacity, take=take, act=act_on, settle=settle, **given)


@pytest.fixture(scope="module")
async def shelf(servers: TestServers) -> AsyncIterator[Place]:
    url = await servers.new_database("purchases", "shelf")
    engine = create_engine(url, service="shelf")
    async with engine.begin() as connection:
        await connection.run_sync(PARCEL.create)
    settings = Settings(database_url=SecretStr(url), amqp_url=SecretStr("amqp://unused.invalid"))
    yield Place(create_sessions(engine), settings)
    await engine.dispose()
    await servers.drop_databases("shelf")


@pytest.fixture
async def place(shelf: Place) -> Place:
    """Three parcels that wait, numbered in the order in which they are due."""
    now = datetime.now(UTC)
    async with shelf.sessions() as session, session.begin():
        await session.execute(delete(PARCEL))
        await session.execute(
            insert(PARCEL), [{"id": number, "due_at": now - timedelta(minutes=9 - number)} for number in (1, 2, 3)]
        )
    return Place(shelf.sessions, shelf.settings)


async def break_the_second(number: int) -> str:
    return "broken" if number == 2 else "sent"


async def test_a_bad_result_among_good_ones_is_settled_alone_and_let_go(place: Place) -> None:
    job = job_of(break_the_second)
    assert await job.round(place) == 3
    await place.has_results(3)
    with pytest.raises(NotSettled) as failed:
        await job.round(place)
    assert len(failed.value.exceptions) == 1
    assert await place.parcels() == ["sent 1", "waiting* 1", "sent 1"]
    tried = place.works
    await job.drain(place)
    assert place.works == tried, "nothing is in hand any more"


async def test_results_are_kept_while_the_database_is_away(place: Place) -> None:
    sent = []

    async def note(number: int) -> str:
        sent.append(number)
        return "sent"

    job, place.without_database = job_of(note), {2, 3}
    assert await job.round(place) == 3
    await place.has_results(3)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await job.round(place)
    assert await place.parcels() == ["waiting* 1"] * 3
    assert await job.round(place) == 0
    assert await place.parcels() == ["sent 1"] * 3
    assert sent == [1, 2, 3]


async def test_an_outage_while_results_are_settled_alone_keeps_the_others_and_hides_no_failure(place: Place) -> None:
    """The third piece of work settles the first result alone; the fourth finds no database."""
    job, place.without_database = job_of(break_the_second), {4}
    await job.round(place)
    await place.has_results(3)
    with pytest.raises(ConnectionError):
        await job.round(place)
    with pytest.raises(NotSettled) as failed:
        await job.round(place)
    assert len(failed.value.exceptions) == 1
    assert await place.parcels() == ["sent 1", "waiting* 1", "sent 1"]


async def test_while_the_outside_is_away_nothing_is_taken_and_what_was_goes_back_untried(place: Place) -> None:
    away, tried = True, []

    async def act(number: int) -> str:
        tried.append(number)
        return await answer("sent")

    async def probe(_runtime: Runtime[Settings]) -> None:
        await answer("")

    async def answer(text: str) -> str:
        if away:
            raise Unavailable("no connection")
        return text

    job = job_of(act, at_once=1, probe=probe)
    assert await job.round(place) == 3
    await place.has_results(3)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await job.round(place)
        assert await place.parcels() == ["waiting 0"] * 3
    assert tried == [1]
    away = False
    assert await job.round(place) == 3
    await place.has_results(6)
    assert await job.round(place) == 0
    assert await place.parcels() == ["sent 1"] * 3


async def test_a_job_that_stops_settles_what_it_began_and_puts_back_the_rest(place: Place) -> None:
    acting, answer, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def act(_number: int) -> str:
        acting.set()
        await answer.wait()
        return "sent"

    async def close() -> None:
        closed.set()

    job = job_of(act, at_once=1, close=close)
    assert await job.round(place) == 3
    await acting.wait()
    stopping = asyncio.create_task(job.finish(place))
    answer.set()
    await stopping
    assert await place.parcels() == ["sent 1", "waiting 0", "waiting 0"]
    assert closed.is_set()


async def test_what_can_be_done_side_by_side_is_and_no_more_is_taken(place: Place) -> None:
    together = asyncio.Barrier(3)

    async def act(_number: int) -> str:
        await together.wait()
        return "sent"

    job = job_of(act)
    assert await job.round(place) == 3
    tried = place.works
    assert await job.round(place) == 0
    assert place.works == tried, "its hands are full: it does not even look"
    await job.drain(place)
    assert await place.parcels() == ["sent 1"] * 3
