"""Who sends it, for whom, in whose name: what is not allowed is refused, nothing is written and nothing is sent on.

What the broker itself refuses is in tests/integration/test_broker_rights.py.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from aiormq.exceptions import AMQPError, ChannelAccessRefused

from shared.contracts.errorlog import ListErrors
from shared.contracts.purchases import GetPurchase, SearchPurchases
from shared.messaging import names
from tests.support.make import order_number, purchase, refund
from tests.support.peer import Peer
from tests.support.servers import TestServers
from tests.support.system import System, new_system
from tests.support.wait import stays_so, wait_until


@pytest.fixture(scope="module")
async def system(servers: TestServers) -> AsyncIterator[System]:
    """Everything runs that could be deceived."""
    async with new_system(servers) as system:
        await system.start("purchases", "notifications", "errorlog")
        yield system


@pytest.fixture
async def checkout(system: System) -> AsyncIterator[Peer]:
    async with system.peer("checkout") as peer:
        yield peer


async def _written(system: System, order: str) -> int:
    """Rows and messages that a purchase of this order would leave behind."""
    async with system.database("purchases") as database:
        purchases = await database.fetchval("SELECT count(*) FROM purchase WHERE client_order_id = $1", order)
        outbox = await database.fetchval(
            "SELECT count(*) FROM outbox WHERE position($1 in encode(body, 'escape')) > 0", order
        )
        replies = await database.fetchval(
            "SELECT count(*) FROM inbox WHERE position($1 in encode(reply, 'escape')) > 0", order
        )
    return int(purchases + outbox + replies)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"client-id": "demo-shop", "actor": "service:console"}, "forbidden_actor"),
        ({"client-id": "demo-shop", "actor": "service:purchases"}, "forbidden_actor"),
        ({"client-id": "demo-shop", "actor": "user:ada"}, "forbidden_actor"),
        ({"client-id": "demo-shop", "actor": "service:checkout:more"}, "actor_invalid"),
        ({"client-id": "*", "actor": "service:checkout"}, "forbidden_client"),
    ],
)
async def test_a_foreign_name_or_client_is_refused_and_nothing_is_written(
    system: System, checkout: Peer, headers: dict[str, str], code: str
) -> None:
    order, identity = order_number(), uuid4()
    answer = await checkout.ask(purchase(order), message_id=identity, headers=headers)
    assert answer.code == code
    assert await _written(system, order) == 0
    async with system.database("purchases") as database:
        assert await database.fetchval("SELECT count(*) FROM inbox WHERE message_id = $1", identity) == 0
    assert (await checkout.ask(purchase(order), message_id=identity)).code is None, "the id was not used up"


async def test_another_sellers_purchase_is_as_if_it_were_not_there(checkout: Peer) -> None:
    order = order_number()
    number = (await checkout.ask(purchase(order))).body["reference_number"]
    checkout.client = "other-shop"
    for message in (GetPurchase(client_order_id=order), GetPurchase(reference_number=number), refund(order)):
        answer = await checkout.ask(message)
        assert answer.code == "purchase_not_found"
        assert answer.body["facts"].get("reference_number") in {message.reference_number, None}
    found = await checkout.ask(SearchPurchases(keywords=number))
    assert found.body["rows"] == []


async def test_a_query_over_all_clients_is_for_who_may(system: System, checkout: Peer) -> None:
    everybody = {"client-id": "*", "actor": "service:checkout"}
    assert (await checkout.ask(SearchPurchases(keywords="T"), headers=everybody)).code == "forbidden_client"
    async with system.peer("console", actor="user:ada") as console:
        assert (await console.ask(ListErrors(), headers={"client-id": "*", "actor": "user:ada"})).code is None


async def test_a_command_without_a_proved_sender_is_refused(system: System, checkout: Peer) -> None:
    """Its reply queue cannot be told to be its own, so nobody is answered and the error log gets it."""
    order = order_number()
    flow = await checkout.send(
        "purchases.purchase.record.v1",
        purchase(order).model_dump_json(exclude_none=True).encode(),
        user_id=None,
        reply_to=checkout.replies,
    )
    async with system.database("errorlog") as database:

        async def logged() -> bool:
            asked = "SELECT reason FROM failed_message WHERE message_id = $1"
            return bool(await database.fetchval(asked, flow) == "user_id_missing")

        await wait_until(logged, 5)
    assert await _written(system, order) == 0


@pytest.mark.parametrize("user", ["console", "purchases", "guest"])
async def test_a_message_under_anothers_user_reaches_nobody(system: System, user: str) -> None:
    order = order_number()
    async with system.peer("checkout") as posing:
        with pytest.raises(AMQPError, match="user_id property set to"):
            await posing.ask(purchase(order), user_id=user)
    await stays_so(lambda: _is_nothing(system, order), 1, what="nothing is written")


async def _is_nothing(system: System, order: str) -> bool:
    return await _written(system, order) == 0


@pytest.mark.parametrize(
    ("exchange", "key"),
    [
        (names.EVENTS, "notifications.email.sent.v1"),
        (names.EVENTS, "checkout.error.raised.v1"),
        (names.COMMANDS, "notifications.email.send.v1"),
        (names.RETURN, "10s.purchases.events"),
        (names.RETRY, "10s.purchases.events"),
        (names.DEAD, "purchases.events"),
        (names.PARKED, "errorlog.events"),
        (names.REPLIES, "replies.console.x"),
    ],
)
async def test_a_forged_message_is_refused_by_the_broker(system: System, exchange: str, key: str) -> None:
    async with system.peer("checkout") as posing:
        with pytest.raises(ChannelAccessRefused):
            await posing.send(key, b"{}", exchange=exchange)


async def test_a_service_that_was_taken_over_cannot_speak_for_another(system: System) -> None:
    """An event under a key of another service, in a queue that would take it: refused by the broker; and in the
    queue of a service whose broker user may publish the key but does not own it, refused by the receiver."""
    async with await aio_pika.connect(system.amqp_url("notifications")) as connection:
        channel = await connection.channel()
        events = await channel.get_exchange(names.EVENTS, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await events.publish(aio_pika.Message(b"{}", user_id="notifications"), "purchases.refund.completed.v1")


@pytest.mark.parametrize(
    "queue", ["replies.console.x", "ext.console", "purchases.commands", "errorlog.parked", "mine", ""]
)
async def test_a_rogue_queue_is_refused(system: System, queue: str) -> None:
    async with await aio_pika.connect(system.amqp_url("checkout")) as connection:
        channel = await connection.channel()
        with pytest.raises(AMQPError):
            await channel.declare_queue(queue or None, durable=True)


@pytest.mark.parametrize("what", ["delete", "purge", "unbind"])
async def test_queues_of_others_cannot_be_harmed(system: System, what: str) -> None:
    async with await aio_pika.connect(system.amqp_url("checkout")) as connection:
        channel: Any = await connection.channel()
        underlay = await channel.get_underlay_channel()
        harm: Callable[[], Awaitable[object]] = {
            "delete": lambda: underlay.queue_delete("purchases.commands"),
            "purge": lambda: underlay.queue_purge("purchases.commands"),
            "unbind": lambda: underlay.queue_unbind("ext.checkout", names.EVENTS, "purchases.*.*.*"),
        }[what]
        with pytest.raises(ChannelAccessRefused):
            await harm()


@pytest.mark.parametrize(
    "reply_to",
    [
        "replies.console.x",
        "ext.console",
        "errorlog.dead-letters",
        "ext.console+aftersale.events",
        "purchases.refund.completed.v1+aftersale.events",
        "replies.checkout.",
        "replies.#",
        "amq.gen-x",
    ],
)
async def test_an_answer_goes_to_nobody_elses_queue(system: System, checkout: Peer, reply_to: str) -> None:
    """Also not in the form with which FastStream's own replying picks an exchange (`queue+exchange`)."""
    heard: list[AbstractIncomingMessage] = []
    async with system.peer("console", actor="user:ada") as console:
        victim = await console.channel.declare_queue("replies.console.x", exclusive=True, auto_delete=True)
        await victim.bind(names.REPLIES, "replies.console.x")
        await victim.consume(_keep(heard), no_ack=True)
        theirs = await console.channel.get_queue("ext.console", ensure=False)
        await theirs.consume(_keep(heard), no_ack=True)
        key, body = GetPurchase.key, GetPurchase(client_order_id="T-none").model_dump_json(exclude_none=True).encode()
        marker = uuid4().hex
        await checkout.send(key, body, reply_to=reply_to, correlation_id=marker)
        assert (await checkout.ask(GetPurchase(client_order_id="T-none"))).code == "purchase_not_found"
        await stays_so(lambda: all(one.correlation_id != marker for one in heard), 1.5, what="nobody else hears it")


def _keep(heard: list[AbstractIncomingMessage]) -> Any:
    async def keep(message: AbstractIncomingMessage) -> None:
        heard.append(message)

    return keep


async def test_a_new_peer_is_known_without_a_restart(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its right is taken away again in the same way."""
    file = tmp_path_factory.mktemp("peers") / "peers.yaml"
    file.write_text("peers: {}\n")
    entry = '{sends: [purchases.purchase.get.v1], clients: [demo-shop], acts_for: ["service:checkout"]}'
    allowed = f"peers: {{checkout: {entry}}}\n"
    async with new_system(servers) as system:
        await system.start_one("purchases", env={"PURCHASES_PRINCIPALS_FILE": str(file)})
        async with system.peer("checkout") as peer:

            async def code() -> str | None:
                return (await peer.ask(GetPurchase(client_order_id="T-none"))).code

            assert await code() == "forbidden_action"
            for text, wanted in ((allowed, "purchase_not_found"), ("peers: {}\n", "forbidden_action")):
                file.write_text(text)

                async def changed(wanted: str = wanted) -> bool:
                    return await code() == wanted

                await wait_until(changed, 5, exact=True, what=f"the answer becomes {wanted}")
