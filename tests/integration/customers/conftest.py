"""A database of the customers service, migrated as in production."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.customers.arranging import CustomersService
from tests.support.servers import TestServers
from tests.support.service import database_of, sessions_of


@pytest.fixture(scope="session")
async def customers_database(servers: TestServers) -> AsyncIterator[str]:
    """Address of a new database with this release's schema, as the service's own role."""
    async with database_of(servers, "customers") as url:
        yield url


@pytest.fixture(scope="session")
async def service(customers_database: str) -> AsyncIterator[CustomersService]:
    """The service on that database. Tests share it and keep apart by their own clients."""
    async with sessions_of(customers_database, "customers") as sessions:
        yield CustomersService(sessions)
