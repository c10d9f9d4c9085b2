"""Servers of their own for tests that break them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.chaos.breakable import Breakable
from tests.support.proxy import link_to
from tests.support.servers import SERVICE_NAMES, TestServers, own_servers
from tests.support.system import System, new_system


@pytest.fixture(scope="session")
def breakable_servers() -> Iterator[TestServers]:
    """A broker and a database that no other test uses."""
    with own_servers("chaos") as servers:
        yield servers


@pytest.fixture
async def breakable_system(breakable_servers: TestServers) -> AsyncIterator[System]:
    """A system on servers that may be killed, with nothing running yet."""
    async with new_system(breakable_servers) as system:
        yield system


@pytest.fixture
async def breakable(breakable_system: System) -> AsyncIterator[Breakable]:
    """Services on servers that may be killed."""
    system = breakable_system
    async with link_to(system.amqp_url("purchases")) as link:
        # The services reach the broker by a link that can fail; the callers do not.
        by_link = {f"{name.upper()}_AMQP_URL": link.url(system.amqp_url(name)) for name in SERVICE_NAMES}
        await system.start("purchases", "notifications", "errorlog", env=by_link)
        broken = Breakable(system, link)
        yield broken
        await broken.mend()
