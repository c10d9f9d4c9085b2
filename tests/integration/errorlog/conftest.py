"""A database of the error log; every test is a client of its own in it."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from shared.database import create_engine, create_sessions
from tests.integration.errorlog.log import Log
from tests.support.servers import TestServers


@pytest.fixture(scope="session")
async def errorlog_sessions(servers: TestServers) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    name = f"errorlog_{uuid4().hex[:12]}"
    engine = create_engine(await servers.new_database("errorlog", name), service="errorlog", pool_size=12)
    yield create_sessions(engine)
    await engine.dispose()
    await servers.drop_databases(name)


@pytest.fixture
def log(errorlog_sessions: async_sessionmaker[AsyncSession]) -> Log:
    return Log(errorlog_sessions, f"shop-{uuid4().hex[:12]}")
