"""A migrated database of its own, an SMTP server, and the service between them."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.notifications.harness import Notifications, notifications
from tests.integration.notifications.smtp_server import SmtpServer, running
from tests.support.servers import TestServers
from tests.support.service import database_of


@pytest.fixture(scope="session")
async def database_url(servers: TestServers) -> AsyncIterator[str]:
    async with database_of(servers, "notifications") as url:
        yield url


@pytest.fixture
async def smtp() -> AsyncIterator[SmtpServer]:
    async with running(SmtpServer()) as server:
        yield server


@pytest.fixture
async def service(database_url: str, smtp: SmtpServer) -> AsyncIterator[Notifications]:
    async with notifications(database_url, smtp.port) as running_service:
        yield running_service
