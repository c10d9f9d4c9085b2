"""Servers and systems for tests, and the services' logs beside a failure."""

import os
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.servers import TestServers, running_servers
from tests.support.system import LIVE, System, new_system

# A property holds or it does not; how long a busy machine takes to draw an example says nothing of it.
settings.register_profile("aftersale", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aftersale")
_WITHOUT_SERVERS = frozenset({"unit", "contract", "architecture"})


@pytest.fixture(scope="session")
def servers() -> Iterator[TestServers]:
    """A private broker and a private database server, once per test run."""
    with running_servers() as servers:
        os.environ["AFTERSALE_TEST_DATABASE_URL"] = servers.database_admin_url
        yield servers


@pytest.fixture(scope="session", autouse=True)
def _servers_where_needed(request: pytest.FixtureRequest) -> None:
    """Have the servers up before the first fixture that asks the environment for them; unit tests need none."""
    folders = {item.path.relative_to(request.config.rootpath / "tests").parts[0] for item in request.session.items}
    if folders - _WITHOUT_SERVERS:
        request.getfixturevalue("servers")


@pytest.fixture(scope="module")
async def system(servers: TestServers) -> AsyncIterator[System]:
    """A system with every service running, shared by the tests of a module, which keep apart by their own data."""
    async with new_system(servers) as system:
        await system.start()
        yield system


@pytest.fixture
async def fresh_system(servers: TestServers) -> AsyncIterator[System]:
    """A system of this test alone, with nothing running yet: for tests that kill, stop and start services."""
    async with new_system(servers) as system:
        yield system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the logs of the services that ran during a failed test."""
    report = yield
    if report.failed:
        fixtures: dict[str, Any] = getattr(item, "funcargs", {})
        used = [value for value in fixtures.values() if isinstance(value, System)]
        for system in used or LIVE:
            for running in system.processes:
                report.sections.append((f"log of {running.service} ({running.url})", running.log_end(12)))
    return report
