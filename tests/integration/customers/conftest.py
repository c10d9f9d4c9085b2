"""A database of the customers service, migrated as in production."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from shared.database import create_engine, create_sessions
from tests.integration.customers.arranging import CustomersService
from tests.support.servers import TestServers


@pytest.fixture(scope="session")
async def customers_database(servers: TestServers) -> AsyncIterator[str]:
    """Address of a new database with this release's schema, as the service's own role."""
    name = f"customers_{uuid4().hex[:12]}"
    yield await servers.new_database("customers", name)
    await servers.drop_databases(name)


@pytest.fixture(scope="session")
async def service(customers_database: str) -> AsyncIterator[CustomersService]:
    """The service on that database. Tests share it and keep apart by their own clients."""
    engine = create_engine(customers_database, service="customers", pool_size=16)
    yield CustomersService(create_sessions(engine))
    await engine.dispose()
