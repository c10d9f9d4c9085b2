"""A database of the purchases service, migrated as in production."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from pydantic import SecretStr

from services.purchases.settings import Settings
from shared.database import create_engine, create_sessions
from tests.integration.purchases.arranging import PurchasesService
from tests.integration.purchases.payouts import let_wait
from tests.support.servers import TestServers


@pytest.fixture(scope="session")
async def purchases_database(servers: TestServers) -> AsyncIterator[str]:
    """Address of a new database with this release's schema, as the service's own role."""
    name = f"purchases_{uuid4().hex[:12]}"
    yield await servers.new_database("purchases", name)
    await servers.drop_databases(name)


@pytest.fixture(scope="session")
async def service(purchases_database: str) -> AsyncIterator[PurchasesService]:
    """The service on that database. Tests share it and keep apart by their own purchases."""
    engine = create_engine(purchases_database, service="purchases", pool_size=16)
    settings = Settings(
        database_url=SecretStr(purchases_database), amqp_url=SecretStr("amqp://unused.invalid"), refunds_at_once=8
    )
    yield PurchasesService(create_sessions(engine), settings)
    await engine.dispose()


@pytest.fixture
async def no_other_refunds(service: PurchasesService) -> AsyncIterator[None]:
    """Refunds of other tests are not due meanwhile."""
    await let_wait(service)
    yield
    await let_wait(service)
