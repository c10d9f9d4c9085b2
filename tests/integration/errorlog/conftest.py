"""A database of the error log; every test is a client of its own in it."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from tests.integration.errorlog.log import Log
from tests.support.servers import TestServers
from tests.support.service import database_of, sessions_of


@pytest.fixture(scope="session")
async def errorlog_sessions(servers: TestServers) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    async with database_of(servers, "errorlog") as url, sessions_of(url, "errorlog") as sessions:
        yield sessions


@pytest.fixture
def log(errorlog_sessions: async_sessionmaker[AsyncSession]) -> Log:
    return Log(errorlog_sessions, f"shop-{uuid4().hex[:12]}")
