"""How queries are answered: on connections that cannot write, one round trip for each statement."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from asyncpg import ReadOnlySQLTransactionError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.errorlog.app import service as errorlog
from services.purchases.app import service as purchases
from shared.contracts.errorlog import ErrorPage, ListErrors
from shared.database import create_engine, create_reading_engine, create_sessions
from shared.ids import new_id
from shared.messaging.handlers import Route
from shared.messaging.inbound.validation import Request
from shared.messaging.message_context import MessageContext
from shared.messaging.names import QueueKind
from shared.messaging.transaction.transactions import TransactionPerMessage
from shared.messaging.transaction.unanswered_refusals import UnansweredRefusals
from shared.messaging.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics
from tests.support.servers import TestServers


@pytest.fixture
async def database(servers: TestServers) -> AsyncIterator[str]:
    name = f"errorlog_{new_id().hex[:12]}"
    yield await servers.new_database("errorlog", name)
    await servers.drop_databases(name)


@pytest.fixture
async def reading(database: str) -> AsyncIterator[AsyncEngine]:
    engine = create_reading_engine(database, service="errorlog", pool_size=1, planned_once=False)
    yield engine
    await engine.dispose()


@pytest.fixture
async def transactions(database: str, reading: AsyncEngine) -> AsyncIterator[TransactionPerMessage]:
    engine = create_engine(database, service="errorlog", pool_size=1)
    yield TransactionPerMessage(
        service="errorlog",
        sessions=create_sessions(engine),
        inbox=errorlog.tables.inbox,
        outbox=errorlog.tables.outbox,
        metrics=Metrics("errorlog"),
        on_unanswered_refusal=UnansweredRefusals("errorlog"),
        slots=asyncio.Semaphore(1),
        reading=create_sessions(reading),
        reading_slots=asyncio.Semaphore(1),
    )
    await engine.dispose()


def asking(statement: str) -> Request:
    """A query whose use case executes this."""

    async def look(_query: ListErrors, work: UnitOfWork) -> ErrorPage:
        await work.session.execute(text(statement))
        return ErrorPage(rows=(), next_cursor=None)

    route = Route(ListErrors.key, ListErrors, look, QueueKind.QUERIES)
    context = MessageContext(client_id="acme", actor="user:ada", message_id=new_id(), correlation_id="flow")
    return Request(route, ListErrors(), context, b"")


@pytest.mark.parametrize("statement", ["DELETE FROM inbox", "SELECT * FROM inbox FOR UPDATE"])
async def test_a_query_cannot_write(transactions: TransactionPerMessage, statement: str) -> None:
    with pytest.raises(DBAPIError) as raised:
        await transactions.run(asking(statement), awaited=True)
    assert isinstance(getattr(raised.value.orig, "__cause__", None), ReadOnlySQLTransactionError)


async def test_a_query_waits_for_no_writer(transactions: TransactionPerMessage) -> None:
    async with transactions.slots, transactions.sessions() as session, session.begin():
        await session.execute(text("SELECT 1"))
        outcome = await asyncio.wait_for(transactions.run(asking("SELECT 1"), awaited=True), 10)
    assert outcome.word == "done"


async def test_a_query_of_one_statement_is_one_round_trip(
    transactions: TransactionPerMessage, reading: AsyncEngine
) -> None:
    """Neither the beginning nor the end of a transaction is a round trip of its own; they would not be prepared."""
    unprepared = list[str]()
    async with reading.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        raw.add_query_logger(lambda record: unprepared.append(record.query))
    await transactions.run(asking("SELECT 1"), awaited=True)
    assert unprepared == []


async def test_only_services_whose_queries_walk_indexes_have_them_planned_once(database: str) -> None:
    for service, mode in ((purchases, "force_generic_plan"), (errorlog, "auto")):
        engine = create_reading_engine(
            database, service=service.name, pool_size=1, planned_once=service.queries_planned_once
        )
        async with engine.connect() as connection:
            assert await connection.scalar(text("SHOW plan_cache_mode")) == mode
        await engine.dispose()
