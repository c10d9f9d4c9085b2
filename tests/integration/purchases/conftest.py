"""A database of the purchases service, migrated as in production."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from services.purchases.settings import Settings
from tests.integration.purchases.arranging import PurchasesService
from tests.integration.purchases.payouts import let_wait
from tests.support.servers import TestServers
from tests.support.service import database_of, sessions_of


@pytest.fixture(scope="session")
async def purchases_database(servers: TestServers) -> AsyncIterator[str]:
    """Address of a new database with this release's schema, as the service's own role."""
    async with database_of(servers, "purchases") as url:
        yield url


@pytest.fixture(scope="session")
async def service(purchases_database: str) -> AsyncIterator[PurchasesService]:
    """The service on that database. Tests share it and keep apart by their own purchases."""
    settings = Settings(
        database_url=SecretStr(purchases_database), amqp_url=SecretStr("amqp://unused.invalid"), refunds_at_once=8
    )
    async with sessions_of(purchases_database, "purchases") as sessions:
        yield PurchasesService(sessions, settings)


@pytest.fixture
async def no_other_refunds(service: PurchasesService) -> AsyncIterator[None]:
    """Refunds of other tests are not due meanwhile."""
    await let_wait(service)
    yield
    await let_wait(service)
