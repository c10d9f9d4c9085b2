"""Servers of their own for tests that break them."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.chaos.breakable import Breakable
from tests.support.proxy import link_to
from tests.support.servers import SERVICE_NAMES, TestServers
from tests.support.system import new_system
from tools.dev.instance import CHECKOUT, Instance
from tools.dev.leftovers import OWNER, PREFIX, destroy
from tools.dev.servers import Given, Servers
from tools.dev.system import topology_of


@pytest.fixture(scope="module")
def breakable_servers() -> Iterator[TestServers]:
    """A broker and a database that no other test uses."""
    instance = Instance(f"{PREFIX}{os.getpid()}-chaos", checkout=CHECKOUT)
    instance.processes.note(OWNER, os.getpid())
    servers = Servers(instance, given=Given(None, None, None), durable=False)
    try:
        servers.start()
        servers.wait_for_database()
        yield TestServers(instance, servers, topology_of(CHECKOUT))
    finally:
        destroy(instance)


@pytest.fixture
async def breakable(breakable_servers: TestServers) -> AsyncIterator[Breakable]:
    """A whole system on servers that may be killed."""
    async with new_system(breakable_servers) as system, link_to(system.amqp_url("purchases")) as link:
        # The services reach the broker by a link that can fail; the callers do not.
        by_link = {f"{name.upper()}_AMQP_URL": link.url(system.amqp_url(name)) for name in SERVICE_NAMES}
        await system.start("purchases", "notifications", "errorlog", env=by_link)
        broken = Breakable(system, link)
        yield broken
        await broken.mend()
