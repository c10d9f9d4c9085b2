"""A migrated database of its own, an SMTP server, and the service between them."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.integration.notifications.harness import Notifications, notifications
from tests.integration.notifications.smtp_server import SmtpServer, running
from tests.support.servers import TestServers


@pytest.fixture(scope="session")
async def database_url(servers: TestServers) -> AsyncIterator[str]:
    name = f"notifications_{uuid4().hex[:12]}"
    yield await servers.new_database("notifications", name)
    await servers.drop_databases(name)


@pytest.fixture
async def smtp() -> AsyncIterator[SmtpServer]:
    async with running(SmtpServer()) as server:
        yield server


@pytest.fixture
async def service(database_url: str, smtp: SmtpServer) -> AsyncIterator[Notifications]:
    async with notifications(database_url, smtp.port) as running_service:
        yield running_service
