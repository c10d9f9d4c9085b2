"""What the broker itself refuses, whatever a peer's or a service's program tries."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import AMQPError, ChannelAccessRefused

from shared.messaging import names
from tests.support.servers import TestServers
from tests.support.system import System, new_system
from tests.support.wait import wait_until

Attempt = Callable[[AbstractChannel], Awaitable[object]]


@pytest.fixture(scope="module")
async def broker(servers: TestServers) -> AsyncIterator[System]:
    """The topology with nobody running."""
    async with new_system(servers) as system:
        yield system


@asynccontextmanager
async def channel_of(system: System, user: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(system.amqp_url(user))
    async with connection:
        yield await connection.channel(on_return_raises=True)


def publish(exchange: str, key: str, user_id: str | None = None) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await target.publish(aio_pika.Message(b"{}", user_id=user_id), key, timeout=5)

    return attempt


def bind_reply_queue(user: str, key: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        queue = await channel.declare_queue(f"replies.{user}.{uuid4().hex}", exclusive=True)
        await queue.bind(names.REPLIES, key)

    return attempt


def declare(queue: str, **arguments: str | int) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        await channel.declare_queue(queue, exclusive=True, arguments=dict(arguments))

    return attempt


def read(queue: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        there = await channel.get_queue(queue, ensure=False)
        await there.get(fail=False)

    return attempt


@pytest.mark.parametrize(
    ("user", "attempt"),
    [
        pytest.param(
            "checkout", bind_reply_queue("checkout", "replies.console.4711"), id="hear another peer's replies"
        ),
        pytest.param("checkout", bind_reply_queue("checkout", "replies.#"), id="hear all replies"),
        pytest.param("checkout", bind_reply_queue("checkout", "replies.checkout.*"), id="hear replies by wildcard"),
        pytest.param("checkout", bind_reply_queue("checkout", "#"), id="hear everything"),
        pytest.param("checkout", declare("replies.console.x"), id="make another peer's reply queue"),
        pytest.param("checkout", declare("purchases.commands2"), id="make a queue"),
        pytest.param("checkout", publish(names.COMMANDS, "errorlog.error.complete.v1"), id="send what is not its own"),
        pytest.param("checkout", publish(names.EVENTS, "purchases.refund.completed.v1"), id="forge an event"),
        pytest.param("checkout", publish(names.REPLIES, "replies.console.4711"), id="forge a reply"),
        pytest.param("checkout", publish(names.RETRY, "10s.purchases.commands"), id="forge a retry"),
        pytest.param("checkout", publish(names.DEAD, "purchases.commands"), id="forge a dead letter"),
        pytest.param("checkout", publish(names.PARKED, "errorlog.commands"), id="park something"),
        pytest.param("checkout", publish("", "purchases.commands"), id="write into a queue past the exchanges"),
        pytest.param("checkout", read("purchases.commands"), id="read a service's queue"),
        pytest.param("checkout", read("ext.console"), id="read another peer's events"),
        pytest.param("notifications", publish(names.EVENTS, "purchases.refund.completed.v1"), id="another's event"),
        pytest.param("notifications", publish(names.COMMANDS, "purchases.refund.request.v1"), id="unlisted command"),
        pytest.param("notifications", publish(names.RETRY, "10s.purchases.commands"), id="retry for another service"),
        pytest.param("notifications", publish(names.DEAD, "purchases.commands"), id="dead letter of another service"),
        pytest.param("notifications", publish(names.RETURN, "10s.notifications.events"), id="return by itself"),
        pytest.param("notifications", read("purchases.commands"), id="read another service's queue"),
        pytest.param("notifications", read(names.DEAD_LETTERS), id="read dead letters"),
        pytest.param("notifications", declare("notifications.more"), id="make a queue as a service"),
        pytest.param("errorlog", publish(names.DEAD, "errorlog.dead-letters"), id="a loop of dead letters"),
        pytest.param("errorlog", publish(names.EVENTS, "purchases.error.raised.v1"), id="another's error"),
    ],
)
async def test_the_broker_refuses(broker: System, user: str, attempt: Attempt) -> None:
    async with channel_of(broker, user) as channel:
        with pytest.raises(ChannelAccessRefused):
            await attempt(channel)


async def test_a_peer_cannot_pose_as_another_user(broker: System) -> None:
    async with channel_of(broker, "checkout") as channel:
        with pytest.raises(AMQPError, match="user_id property set to 'console'"):
            await publish(names.COMMANDS, "purchases.purchase.get.v1", user_id="console")(channel)


async def test_an_answer_reaches_the_one_who_asked_only(broker: System) -> None:
    async with channel_of(broker, "checkout") as asking, channel_of(broker, "console") as other:
        mine = await asking.declare_queue(f"replies.checkout.{uuid4().hex}", exclusive=True)
        await mine.bind(names.REPLIES, mine.name)
        theirs = await other.declare_queue(f"replies.console.{uuid4().hex}", exclusive=True)
        await theirs.bind(names.REPLIES, theirs.name)
        async with channel_of(broker, "purchases") as service:
            await publish(names.REPLIES, mine.name)(service)
        answer = await wait_until(lambda: mine.get(fail=False, no_ack=True))
        assert answer is not None
        assert await theirs.get(fail=False) is None


async def test_a_retry_comes_back_to_its_own_queue_only(broker: System) -> None:
    """The first step of the ladder, in real time."""
    async with channel_of(broker, "notifications") as service:
        await publish(names.RETRY, "10s.notifications.events")(service)
        queue = await service.get_queue("notifications.events", ensure=False)
        back = await wait_until(lambda: queue.get(fail=False, no_ack=True), 20)
    assert back is not None
    assert back.exchange == names.RETURN
    assert back.routing_key == "10s.notifications.events"
    assert await broker.queue_length("purchases.events") == 0
    assert await broker.queue_length(names.DEAD_LETTERS) == 0
