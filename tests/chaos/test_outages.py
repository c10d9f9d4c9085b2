"""The broker, the database, or both go away under load and come back. Nothing is lost or doubled, nobody helps."""

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from shared.messaging import names
from tests.chaos.breakable import Breakable
from tests.support.broker_control import rabbitmqctl
from tests.support.servers import TestServers
from tests.support.system import Running, System
from tests.support.traffic import Traffic, prove_nothing_lost_or_doubled
from tests.support.wait import wait_until

OUTAGE_SECONDS = float(os.environ.get("AFTERSALE_OUTAGE_SECONDS", "6"))
"""30 in `./dev chaos`; the ordinary run has less time."""
LOUD = 15
"""Lines above info that a service may write because of one outage."""

Break = Callable[[Breakable], Awaitable[None]]


async def _kill_both(breakable: Breakable) -> None:
    await breakable.kill_broker()
    await breakable.kill_database()


OUTAGES: dict[str, Break] = {
    "broker killed": Breakable.kill_broker,
    "broker stopped": Breakable.stop_broker,
    "database killed": Breakable.kill_database,
    "both killed": _kill_both,
    "link silent": Breakable.silence,
}


@pytest.mark.timeout(600)
async def test_an_alarm_that_blocks_publishing_under_load_loses_and_doubles_nothing(breakable: Breakable) -> None:
    """Consumers go on during an alarm; only publishing waits. So the services stay ready, and nothing gets out."""
    traffic = Traffic(breakable.system.amqp_url("checkout"))
    running = asyncio.create_task(traffic.run())
    async with breakable.watched():
        await asyncio.sleep(3)
        before = len(traffic.accepted)
        assert before, "there was no load"
        await breakable.raise_alarm()
        await asyncio.sleep(OUTAGE_SECONDS + 4)
        during = len(traffic.accepted)
        await asyncio.sleep(2)
        assert len(traffic.accepted) == during, "the alarm did not block publishing"
        await breakable.mend()
        await breakable.until_ready(True)
        await asyncio.sleep(2)
        traffic.stop()
        await asyncio.wait_for(running, 120)
    assert len(traffic.accepted) > during, "nothing went on afterwards"
    await prove_nothing_lost_or_doubled(breakable.system, traffic.accepted)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("outage", OUTAGES)
async def test_an_outage_under_load_loses_and_doubles_nothing(breakable: Breakable, outage: str) -> None:
    traffic = Traffic(breakable.system.amqp_url("checkout"))
    running = asyncio.create_task(traffic.run())
    async with breakable.watched():
        await asyncio.sleep(3)
        before = len(traffic.accepted)
        assert before, "there was no load"
        await OUTAGES[outage](breakable)
        await breakable.until_ready(False)
        await asyncio.sleep(OUTAGE_SECONDS)
        await breakable.mend()
        await breakable.until_ready(True)
        await asyncio.sleep(2)
        traffic.stop()
        await asyncio.wait_for(running, 120)
    assert len(traffic.accepted) > before, "nothing went on afterwards"
    assert not traffic.refused
    await prove_nothing_lost_or_doubled(breakable.system, traffic.accepted)
    storms = {service: lines for service, lines in breakable.warnings().items() if len(lines) > LOUD}
    assert not storms, storms


@pytest.mark.timeout(600)
async def test_what_an_alarm_holds_up_goes_out_under_the_same_id(breakable_system: System) -> None:
    """A publish without a time limit hangs for ever; what timed out may arrive all the same."""
    running = await breakable_system.start_one("purchases", env={"PURCHASES_PUBLISH_TIMEOUT_SECONDS": "1"})
    identity = uuid4()
    async with breakable_system.database("purchases") as database:
        async with _memory_alarm(breakable_system.servers):
            await database.execute(
                "INSERT INTO outbox (message_id, exchange, routing_key, correlation_id, headers, body)"
                " VALUES ($1, $2, 'purchases.purchase.recorded.v1', 'alarm', '{}', '{}')",
                identity,
                names.EVENTS,
            )
            unknown = 'outbox_published_total{result="unknown"}'
            await wait_until(lambda: asyncio.to_thread(_figure, running, unknown), 20, what="the outcome is unknown")
            assert await database.fetchval("SELECT failures FROM outbox WHERE message_id = $1", identity) == 0
        gone = "SELECT count(*) = 0 FROM outbox WHERE message_id = $1"
        await wait_until(lambda: database.fetchval(gone, identity), 30, what="the row is out")
    heard = await breakable_system.until_in("ext.checkout")
    assert {one["properties"]["message_id"] for one in heard} == {str(identity)}


@asynccontextmanager
async def _memory_alarm(servers: TestServers) -> AsyncIterator[None]:
    """The broker takes nothing from publishers, and tells them nothing."""
    await rabbitmqctl(servers, "set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        yield
    finally:
        await rabbitmqctl(servers, "set_vm_memory_high_watermark", "0.6")


def _figure(running: Running, name: str) -> float:
    with urllib.request.urlopen(f"{running.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
