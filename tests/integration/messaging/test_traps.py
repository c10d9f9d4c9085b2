"""Traps that libraries and the broker set, each closed once in shared/messaging.

They were seen to fail with their guards taken out, but for two: the missing greenlet package (no guard was taken out
for it) and the drain after SIGTERM (two changed lines went unnoticed). The trap of the memory alarm stops everybody's
publishing; its test is in tests/chaos.
"""

import asyncio
import json
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any
from uuid import uuid4

import aio_pika
import aiormq
import pytest
from pydantic import SecretStr

from services.purchases.app import service
from services.purchases.settings import Settings
from shared.contracts.notifications import EmailSent
from shared.contracts.purchases import GetPurchase
from shared.messaging import names
from shared.messaging.host.service_host import ServiceHost
from shared.messaging.inbound import consumers as consumers_module
from shared.messaging.outbound import publisher as publisher_module
from shared.messaging.outbound.publisher import Publisher, PublishUnknown
from shared.messaging.outbound.replies import JSON, Replies, Reply
from shared.observability.metrics import Metrics
from tests.support.make import order_number, purchase
from tests.support.proxy import link_to
from tests.support.samples import sample
from tests.support.servers import TestServers
from tests.support.system import System
from tests.support.wait import wait_until
from tools.dev.failure import SetupFailed
from tools.dev.instance import CHECKOUT


async def test_everything_but_replies_survives_a_restart_of_the_broker(fresh_system: System) -> None:
    """FastStream publishes transient messages unless told otherwise."""
    await fresh_system.start_one("purchases")
    async with fresh_system.peer("checkout") as checkout:
        modes = []

        async def keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            modes.append(message.delivery_mode)

        queue = await checkout.channel.declare_queue(
            f"replies.checkout.{uuid4().hex}", exclusive=True, auto_delete=True
        )
        await queue.bind(names.REPLIES, queue.name)
        await queue.consume(keep, no_ack=True)
        body = purchase(order_number()).model_dump_json(exclude_none=True).encode()
        await checkout.send("purchases.purchase.record.v1", body, reply_to=queue.name, delivery_mode=1)
        await checkout.send("purchases.purchase.record.v1", b"", delivery_mode=1)
        await wait_until(lambda: modes)
    assert modes == [1], "a reply that outlives its caller helps nobody"
    events = await fresh_system.until_in("ext.checkout")
    dead = await fresh_system.until_in(names.DEAD_LETTERS)
    assert {one["properties"]["delivery_mode"] for one in (*events, *dead)} == {2}


async def test_a_retry_counts_for_itself_and_carries_nothing_that_steers_the_broker(fresh_system: System) -> None:
    """A copied x-death makes the broker drop the message; x-delivery-count grows for messages nobody ever saw."""
    await fresh_system.start_one("purchases")
    forged: dict[str, Any] = {"x-delivery-count": 49, "x-aftersale-attempts": 4, "x-aftersale-user": "console"}
    async with await aio_pika.connect(fresh_system.amqp_url("notifications")) as connection:
        channel = await connection.channel()
        events = await channel.get_exchange(names.EVENTS, ensure=False)
        message = aio_pika.Message(
            json.dumps(sample(EmailSent)).encode(),
            headers={"client-id": "demo-shop", "actor": "service:notifications"} | forged,
            message_id=str(uuid4()),
            user_id="notifications",
            content_type="application/json",
        )
        await events.publish(message, EmailSent.key)
    (waiting,) = await fresh_system.until_in("aftersale.retry.10s")
    headers = waiting["properties"]["headers"]
    assert headers["x-aftersale-attempts"] == 1
    assert headers["x-aftersale-user"] == "notifications"
    assert "x-death" not in headers
    assert headers.get("x-delivery-count", 0) < 49
    assert waiting["properties"]["message_id"] == message.message_id
    assert waiting["properties"]["delivery_mode"] == 2
    back = await fresh_system.until_in("aftersale.retry.1m", 30)
    headers = back[0]["properties"]["headers"]
    assert headers["x-aftersale-attempts"] == 2
    assert "x-death" not in headers, "the broker wrote it when the first delay was over"


async def test_a_command_that_nobody_takes_is_kept_and_told(fresh_system: System) -> None:
    """A returned message looks like a published one, unless one asks."""
    key = "purchases.contact.update.v1"
    admin = fresh_system.servers.admin
    binding = ("bindings", fresh_system.vhost, "e", names.COMMANDS, "q", "purchases.commands", key)
    await asyncio.to_thread(admin.delete, *binding)
    await fresh_system.start("customers", "errorlog")
    headers = json.dumps({"client-id": "demo-shop", "actor": "service:customers"})
    async with fresh_system.database("customers") as database:
        await database.execute(
            "INSERT INTO outbox (message_id, exchange, routing_key, correlation_id, headers, body)"
            " VALUES ($1, $2, $3, 'unroutable', $4, '{}')",
            uuid4(),
            names.COMMANDS,
            key,
            headers,
        )

        async def set_aside() -> Any:
            return await database.fetchval("SELECT set_aside_at FROM outbox WHERE routing_key = $1", key)

        await wait_until(set_aside, 60, what="the row is set aside")
        assert await database.fetchval("SELECT failures FROM outbox WHERE routing_key = $1", key) == 10
    async with fresh_system.database("errorlog") as log:
        asked = "SELECT count(*) FROM error_entry WHERE error_type = 'message_not_routable' AND title LIKE $1"
        await wait_until(lambda: log.fetchval(asked, f"{key}%"), what="the error log knows")


@asynccontextmanager
async def _publisher(url: str, timeout: float) -> AsyncIterator[Publisher]:
    publisher = Publisher(url, name="trap", timeout=timeout, metrics=Metrics(f"trap{uuid4().hex[:6]}"))
    try:
        yield publisher
    finally:
        await asyncio.wait_for(publisher.close(), 10)


async def test_a_reply_that_cannot_be_written_does_not_end_all_answering(fresh_system: System) -> None:
    """The client library raised in the task that sends replies; the task ended, and with it the process."""
    metrics = Metrics("trap")
    async with _publisher(fresh_system.amqp_url("purchases"), 10) as publisher:
        replies = Replies(publisher, service="purchases", user="purchases", metrics=metrics)
        sending = asyncio.create_task(replies.run())
        for to in ("replies.checkout." + "x" * 255, "replies.checkout.x"):
            replies.send(Reply(JSON, b"{}"), to=to, correlation_id="flow", key=GetPurchase.key)

        async def told() -> bool:
            return [metrics.replies_total.labels(word)._value.get() for word in ("failed", "sent")] == [1, 1]

        await wait_until(told, 10, exact=True, what="one failed, the other left")
        assert not sending.done()
        sending.cancel()


async def _publish(publisher: Publisher) -> None:
    message = aio_pika.Message(b"{}", user_id="purchases", message_id=str(uuid4()))
    await publisher.publish(message, exchange=names.EVENTS, key="purchases.trap.sprung.v1", mandatory=False)


@pytest.mark.parametrize("timeout", [1.0, 60.0], ids=["own time limit", "heartbeats missing"])
async def test_a_link_that_goes_silent_is_an_unknown_outcome(
    fresh_system: System, monkeypatch: pytest.MonkeyPatch, timeout: float
) -> None:
    """aiormq then cancels the publish; a loop that lets a CancelledError through that nobody asked for dies of it."""
    monkeypatch.setattr(publisher_module, "HEARTBEAT_SECONDS", 2 if timeout > 20 else 60)
    url = fresh_system.amqp_url("purchases")
    async with link_to(url) as link, _publisher(link.url(url), timeout) as publisher:
        await _publish(publisher)
        link.go_silent()
        started = time.monotonic()
        with pytest.raises(PublishUnknown):
            await _publish(publisher)
        assert time.monotonic() - started < 20
        assert link.swallowed > 0, "the fault did not happen"
        link.heal()
        await wait_until(lambda: _succeeds(publisher), 10, what="it publishes again")


async def _succeeds(publisher: Publisher) -> bool:
    try:
        await _publish(publisher)
    except PublishUnknown:
        return False
    return True


async def test_what_was_committed_during_a_silent_link_arrives_once(fresh_system: System) -> None:
    """The same message with the same id again, until the broker has it."""
    url = fresh_system.amqp_url("purchases")
    async with link_to(url) as link:
        running = await fresh_system.start_one(
            "purchases", env={"PURCHASES_AMQP_URL": link.url(url), "PURCHASES_PUBLISH_TIMEOUT_SECONDS": "1"}
        )
        async with fresh_system.peer("checkout") as checkout:
            order = order_number()
            assert (await checkout.ask(purchase())).code is None
            link.go_silent()
            await checkout.send(
                "purchases.purchase.record.v1", purchase(order).model_dump_json(exclude_none=True).encode()
            )
            await wait_until(lambda: link.swallowed > 0, what="the fault happens")
            await asyncio.sleep(3)
            link.heal()

            async def recorded() -> bool:
                async with fresh_system.database("purchases") as database:
                    waiting = await database.fetchval("SELECT count(*) FROM outbox")
                    found = await database.fetchval("SELECT count(*) FROM purchase WHERE client_order_id = $1", order)
                return bool(found == 1 and waiting == 0)

            await wait_until(recorded, 40, what="the purchase is recorded and its events are out")
        assert running.process.alive
    told = [one["properties"] for one in await fresh_system.until_in("ext.checkout")]
    assert len({one["message_id"] for one in told if one["type"] == "purchases.purchase.recorded.v1"}) == 2


async def test_a_queue_that_vanishes_under_its_consumer_is_noticed(fresh_system: System) -> None:
    """The connection stands, nothing arrives, and everything looks well: so the process looks, and ends."""
    running = await fresh_system.start_one("purchases")
    await asyncio.to_thread(fresh_system.servers.admin.delete, "queues", fresh_system.vhost, "purchases.commands")
    assert await running.wait_ended(40) == 1
    await asyncio.to_thread(fresh_system.servers.provision_vhost, fresh_system.vhost)
    await fresh_system.start_one("purchases")
    async with fresh_system.peer("checkout") as checkout:
        assert (await checkout.ask(purchase())).code is None


async def test_a_consumer_that_is_gone_is_missed_while_another_instance_reads_the_queue(
    fresh_system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stands and the queue has a consumer: neither tells that ours is gone."""
    await fresh_system.start_one("purchases")
    monkeypatch.setattr(consumers_module, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(consumers_module, "WITHOUT_CONSUMERS_SECONDS", 1)
    settings = Settings(
        database_url=SecretStr(fresh_system.database_url("purchases")),
        amqp_url=SecretStr(fresh_system.amqp_url("purchases")),
    )
    consumers = ServiceHost(service, settings).consumers
    running = asyncio.create_task(consumers.run())
    try:
        await wait_until(lambda: consumers.is_consuming, what="ours consumes too")
        queue = consumers.consumptions[0].consumed
        assert queue is not None
        channel = await queue.channel.get_underlay_channel()
        assert isinstance(channel, aiormq.Channel)
        (tag,) = channel.consumers
        await channel.basic_cancel(tag)
        await wait_until(lambda: not consumers.is_consuming, what="it is missed")
        assert (await queue.declare()).consumer_count == 1, "the other instance reads on"
        with pytest.raises(consumers_module.ConsumersLost):
            await asyncio.wait_for(running, 10)
    finally:
        running.cancel()
        await consumers.stop(1)


async def test_a_queue_that_exists_otherwise_is_not_passed_over(servers: TestServers) -> None:
    """An import of definitions leaves it as it is and says nothing; a quorum queue would silently be a classic one."""
    vhost = "otherwise"
    await asyncio.to_thread(servers.provision_vhost, vhost)
    try:
        queue = ("queues", vhost, "purchases.commands")
        await asyncio.to_thread(servers.admin.delete, *queue)
        await asyncio.to_thread(lambda: servers.admin.put(*queue, body={"durable": True}))
        with pytest.raises(SetupFailed, match=r"purchases\.commands"):
            await asyncio.to_thread(servers.provision_vhost, vhost)
    finally:
        await asyncio.to_thread(servers.admin.delete, "vhosts", vhost)


async def test_a_stopping_service_ends_in_seconds_and_gives_nothing_back_that_it_has_handled(
    fresh_system: System,
) -> None:
    running = await fresh_system.start_one("purchases")
    async with fresh_system.peer("checkout") as checkout:
        ids = [str(uuid4()) for _ in range(150)]
        for identity in ids:
            body = purchase().model_dump_json(exclude_none=True).encode()
            await checkout.send("purchases.purchase.record.v1", body, message_id=identity)
        started = time.monotonic()
        assert await running.stop() == 0
        assert time.monotonic() - started < 12
    async with fresh_system.database("purchases") as database:
        handled = {str(row["message_id"]) for row in await database.fetch("SELECT message_id FROM inbox")}
    left = {
        one["properties"]["message_id"]
        for one in await asyncio.to_thread(fresh_system.messages_in, "purchases.commands")
    }
    assert handled | left == set(ids)
    assert not handled & left


async def test_a_question_that_nobody_waits_for_stops_nothing(fresh_system: System) -> None:
    """It has no retry queue. A copy that the broker refuses closes the channel, again and again, for all others."""
    await fresh_system.start_one("purchases")
    async with fresh_system.peer("checkout") as checkout:
        await checkout.send(GetPurchase.key, GetPurchase(client_order_id="T-none").model_dump_json().encode())
        assert (await checkout.ask(purchase())).code is None
        assert await fresh_system.until_in("ext.checkout", 5)
    assert "copy_not_accepted" not in fresh_system.processes[0].log.read_text()


def test_the_asyncio_part_of_sqlalchemy_is_asked_for() -> None:
    """SQLAlchemy 2.1 does not bring greenlet by itself; without it nothing fails before the first statement."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    assert any(one.startswith("sqlalchemy[asyncio]") for one in project["project"]["dependencies"])
    assert "\ngreenlet==" in (CHECKOUT / "requirements.lock").read_text()
    assert metadata.version("greenlet")
