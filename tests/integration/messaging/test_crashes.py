"""A service is killed at the worst moments. Each refund stands once in the database, each mail has one Message-ID."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from tests.support.make import order_number, purchase, refund
from tests.support.peer import Peer
from tests.support.servers import TestServers
from tests.support.system import Running, System, new_system
from tests.support.wait import wait_until

ORDERS = 6
SHORT_LEASES = {
    "PURCHASES_PROVIDER_TIMEOUT_SECONDS": "0.5",
    "PURCHASES_REFUND_LEASE_SECONDS": "2",
    "NOTIFICATIONS_SMTP_TIMEOUT_SECONDS": "0.2",
    "NOTIFICATIONS_DISPATCH_LEASE_SECONDS": "2.5",
}
"""A crashed worker's rows are taken over when its lease ends; tests have no minutes to wait."""
OF_PURCHASES = [
    "before_commit:4",
    "after_commit:4",
    "before_ack:4",
    "after_ack:4",
    "after_publish:2",
    "refund_sent:2",
    "refund_provider_called:2",
]
OF_NOTIFICATIONS = ["before_commit:2", "after_commit:2", "after_publish:2", "email_sending:2", "smtp_accepted:2"]


@dataclass
class Around:
    """What goes on while a service is killed, again and again, and every order that it was ever sent."""

    system: System
    service: str
    orders: list[str] = field(default_factory=list)


@asynccontextmanager
async def _around(servers: TestServers, service: str) -> AsyncIterator[Around]:
    """The other services; nothing is left to do in them when the next test begins."""
    async with new_system(servers) as system:
        await system.start(*(name for name in ("purchases", "notifications", "errorlog") if name != service))
        yield Around(system, service)


@pytest.fixture(scope="module")
async def around_purchases(servers: TestServers) -> AsyncIterator[Around]:
    async with _around(servers, "purchases") as around:
        yield around


@pytest.fixture(scope="module")
async def around_notifications(servers: TestServers) -> AsyncIterator[Around]:
    async with _around(servers, "notifications") as around:
        yield around


@pytest.mark.parametrize("failpoint", OF_PURCHASES)
async def test_a_kill_of_purchases_loses_and_doubles_nothing(around_purchases: Around, failpoint: str) -> None:
    await _nothing_is_lost_or_doubled(around_purchases, failpoint)


@pytest.mark.parametrize("failpoint", OF_NOTIFICATIONS)
async def test_a_kill_of_notifications_loses_and_doubles_nothing(around_notifications: Around, failpoint: str) -> None:
    await _nothing_is_lost_or_doubled(around_notifications, failpoint)


async def _nothing_is_lost_or_doubled(around: Around, failpoint: str) -> None:
    """Of this test's orders, and of those of the tests before it."""
    system = around.system
    victim = await system.start_one(around.service, env={"FAILPOINT": failpoint} | SHORT_LEASES)
    restarting = asyncio.create_task(_start_again_when_killed(system, victim))
    try:
        async with system.peer() as checkout:
            for order in (order_number() for _ in range(ORDERS)):
                around.orders.append(order)
                await _until_answered(checkout, order)
            await restarting
            await _everything_has_settled(system, len(around.orders))
        assert victim.process.exit_code == -9, "the fault did not happen"
        await _prove(system, around.orders)
    finally:
        restarting.cancel()
        for running in system.processes:
            if running.service == around.service:
                await running.kill()


async def _start_again_when_killed(system: System, victim: Running) -> None:
    await wait_until(lambda: not victim.process.alive, 60, what="the process is killed")
    await system.start_one(victim.service, env=SHORT_LEASES)


async def _until_answered(checkout: Peer, order: str) -> None:
    """As a caller should: no answer in time, so the same message again."""
    for message in (purchase(order), refund(order)):
        identity = uuid4()
        for _ in range(20):
            try:
                answer = await checkout.ask(message, message_id=identity, timeout=3)
            except TimeoutError:
                continue
            assert answer.code is None, answer
            break
        else:
            raise AssertionError("no answer")


async def _everything_has_settled(system: System, orders: int) -> None:
    async def settled() -> bool:
        async with system.database("purchases") as database:
            open_refunds = await database.fetchval("SELECT count(*) FROM refund WHERE state <> 'completed'")
            noted = await database.fetchval("SELECT count(*) FROM history_entry WHERE subject = 'email.sent'")
            outbox = await database.fetchval("SELECT count(*) FROM outbox")
        async with system.database("notifications") as database:
            mails = await database.fetchval("SELECT count(*) FROM email WHERE state = 'sent'")
            outbox += await database.fetchval("SELECT count(*) FROM outbox")
        return bool(open_refunds == 0 and outbox == 0 and mails == noted == 2 * orders)

    await wait_until(settled, 60, what="refunds, mails and history are complete")


async def _prove(system: System, orders: list[str]) -> None:
    async with system.database("purchases") as database:
        refunded = await database.fetch("SELECT client_order_id, gross, refunded, status FROM purchase")
        payouts = await database.fetchval("SELECT count(*) FROM manual_payout")
        refunds = await database.fetchval("SELECT count(*) FROM refund")
    assert sorted(row["client_order_id"] for row in refunded) == sorted(orders)
    assert all(row["refunded"] == row["gross"] and row["status"] == "refunded" for row in refunded)
    assert refunds == payouts == len(orders)
    async with system.database("errorlog") as database:
        assert await database.fetchval("SELECT count(*) FROM error_entry") == 0
    async with system.database("notifications") as database:
        unknown = await database.fetchval("SELECT count(*) FROM email_attempt WHERE outcome = 'unknown'")
    ids = Counter(mail["Message-ID"] for mail in system.mails.all())
    assert len(ids) == 2 * len(orders)
    assert sum(ids.values()) - len(ids) <= unknown, ids
