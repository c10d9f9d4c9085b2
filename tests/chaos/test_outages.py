"""The broker, the database, or both go away under load and come back. Nothing is lost or doubled, nobody helps."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from tests.chaos.breakable import Breakable
from tests.support.traffic import Traffic, prove_nothing_lost_or_doubled

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


@pytest.mark.timeout(300)
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


@pytest.mark.timeout(300)
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
