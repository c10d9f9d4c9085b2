"""Servers and systems for tests, and the services' logs beside a failure."""

import os
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.workermanage import WorkerController

from tests.support.order import longest_first
from tests.support.servers import TestServers, servers_of
from tests.support.system import LIVE, System, new_system
from tools.dev.instance import CHECKOUT, Instance
from tools.dev.leftovers import destroy, new_instance, remove_leftovers

# A property holds or it does not; how long a busy machine takes to draw an example says nothing of it.
settings.register_profile("aftersale", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aftersale")
_WITHOUT_SERVERS = frozenset({"unit", "contract", "architecture"})
_INSTANCE = pytest.StashKey[Instance]()


def pytest_configure_node(node: WorkerController) -> None:
    """Tell a worker, before it starts, which instance all workers share. Called in the controlling process."""
    node.workerinput["instance"] = _instance_of_this_run(node.config).name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side the long files come first, so that no worker has one left when the others are done."""
    if hasattr(config, "workerinput"):
        longest_first(items, root=config.rootpath / "tests")


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> TestServers:
    """A private broker and a private database server, once per test run, whatever the number of workers."""
    config = request.config
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is None:
        servers = servers_of(_instance_of_this_run(config))
    else:
        servers = servers_of(Instance(given["instance"]), worker=given["workerid"])
    servers.start()
    os.environ["AFTERSALE_TEST_DATABASE_URL"] = servers.database_admin_url
    return servers


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


def _instance_of_this_run(config: pytest.Config) -> Instance:
    """Owned by the process that pytest was started as, and gone when it ends, also after Ctrl-C."""
    if _INSTANCE not in config.stash:
        remove_leftovers(CHECKOUT)
        instance = config.stash[_INSTANCE] = new_instance(CHECKOUT)
        config.add_cleanup(lambda: destroy(instance))
    return config.stash[_INSTANCE]
