"""A message that cannot be handled climbs the ladder, comes back to its one queue, and ends with the error log."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import aio_pika
import pytest

from shared.contracts.errorlog import PurchasesErrorRaised
from shared.contracts.message import Event
from shared.contracts.notifications import EmailSent, EmailType
from shared.ids import new_id
from shared.messaging import names
from tests.support.make import order_number, purchase, refund
from tests.support.servers import TestServers
from tests.support.system import System, new_system
from tests.support.wait import stays_so, wait_until

STEP = 1500
"""Milliseconds of every step here; the real ones are 10 s to 1 h."""


@pytest.fixture
async def quick(servers: TestServers) -> AsyncIterator[System]:
    """A system whose retry queues keep messages for moments only."""
    queues = tuple(
        replace(queue, arguments=queue.arguments | {"x-message-ttl": STEP})
        if queue.name.startswith(names.RETRY)
        else queue
        for queue in servers.topology.queues
    )
    async with new_system(replace(servers, topology=replace(servers.topology, queues=queues))) as system:
        await system.start("purchases", "errorlog")
        yield system


async def _errors(system: System) -> list[Any]:
    async with system.database("errorlog") as database:
        return await database.fetch("SELECT * FROM error_entry")


async def _sql(system: System, service: str, statement: str) -> None:
    async with system.database(service) as database:
        await database.execute(statement)


async def _publish(system: System, user: str, event: Event) -> None:
    """Publish an event as its owner."""
    connection = await aio_pika.connect(system.amqp_url(user))
    async with connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange(names.EVENTS, ensure=False)
        message = aio_pika.Message(
            event.model_dump_json(exclude_none=True).encode(),
            headers={"client-id": "demo-shop", "actor": f"service:{user}"},
            message_id=str(new_id()),
            user_id=user,
            content_type="application/json",
        )
        await exchange.publish(message, type(event).key)


async def _climbed(system: System) -> float:
    """How many messages purchases has sent up the ladder so far."""
    (purchases,) = (running for running in system.processes if running.service == "purchases")

    def ask() -> float:
        with urllib.request.urlopen(f"{purchases.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("messages_retried_total{"))

    return await asyncio.to_thread(ask)


async def _more_climbed(system: System, before: float) -> bool:
    return await _climbed(system) > before


async def test_a_failing_message_is_tried_five_times_and_then_told_to_the_error_log(quick: System) -> None:
    async with quick.peer() as checkout:
        order = order_number()
        await checkout.ask(purchase(order))
        await _sql(quick, "purchases", "ALTER TABLE refund RENAME TO refund_away")
        identity = uuid4()
        body = refund(order).model_dump_json(exclude_none=True).encode()
        await checkout.send("purchases.refund.request.v1", body, message_id=identity)
        other = await checkout.ask(purchase())
        assert other.code is None, "one bad message must not hold up the next"
    (error,) = await wait_until(lambda: _errors(quick), 30, what="the message is dead")
    assert error["error_type"] == "attempts_used_up"
    assert error["message_id"] == identity
    async with quick.database("errorlog") as database:
        letter = await database.fetchrow("SELECT * FROM failed_message")
    assert letter is not None
    assert "request_refund" in str(dict(error)) + str(dict(letter))


async def test_what_is_mended_in_time_is_handled_after_all(quick: System) -> None:
    async with quick.peer() as checkout:
        order = order_number()
        await checkout.ask(purchase(order))
        await _sql(quick, "purchases", "ALTER TABLE refund RENAME TO refund_away")
        body = refund(order).model_dump_json(exclude_none=True).encode()
        identity = await checkout.send("purchases.refund.request.v1", body, reply=True)
        answers = checkout.answers.setdefault(identity, asyncio.Queue())
        await wait_until(lambda: _climbed(quick), 15, what="it waits on the ladder")
        await _sql(quick, "purchases", "ALTER TABLE refund_away RENAME TO refund")
        answer = await asyncio.wait_for(answers.get(), 20)
        assert answer.code is None, "the caller gets its reply although the message came the long way"
    assert await _errors(quick) == []


async def test_an_event_about_a_purchase_that_is_still_on_its_way_waits_for_it(quick: System) -> None:
    sent = EmailSent(
        email_id=new_id(),
        reference_number="987654321",
        email_type=EmailType.RECEIPT,
        subject="Your receipt",
        sent_at=purchase().ordered_at,
        attempt=1,
    )
    await _publish(quick, "notifications", sent)
    (error,) = await wait_until(lambda: _errors(quick), 30, what="nobody ever knew that purchase")
    assert error["error_type"] == "missing_prerequisite"
    assert error["reference_number"] == "987654321"
    async with quick.peer() as checkout:
        number = (await checkout.ask(purchase())).body["reference_number"]
        hide = "UPDATE purchase SET reference_number = '{}' WHERE reference_number = '{}'"
        await _sql(quick, "purchases", hide.format("111111111", number))
        before = await _climbed(quick)
        await _publish(
            quick, "notifications", sent.model_copy(update={"reference_number": number, "email_id": new_id()})
        )
        await wait_until(lambda: _more_climbed(quick, before), 15, what="it waits on the ladder")
        await _sql(quick, "purchases", hide.format(number, "111111111"))

    async def noted() -> bool:
        async with quick.database("purchases") as database:
            return bool(await database.fetchval("SELECT count(*) FROM history_entry WHERE subject = 'email.sent'"))

    await wait_until(noted, 20, what="the event found its purchase")
    assert len(await _errors(quick)) == 1


async def test_the_error_log_never_feeds_itself(quick: System) -> None:
    await _sql(quick, "errorlog", "ALTER TABLE error_entry RENAME TO error_entry_away")
    event = PurchasesErrorRaised(error_type="payment_failure", title="The provider does not answer")
    await _publish(quick, "purchases", event)

    async def parked() -> bool:
        return await quick.queue_length(names.PARKED_QUEUE) == 1

    await wait_until(parked, 30, what="it is parked")

    async def quiet() -> bool:
        return await quick.queue_length(names.PARKED_QUEUE) == 1 and await quick.queue_length(names.DEAD_LETTERS) == 0

    await stays_so(quiet, 3, what="no error about the error")


async def test_poison_goes_to_the_error_log_at_once(quick: System) -> None:
    async with quick.peer() as checkout:
        await checkout.send("purchases.refund.request.v1", b'{"kind": "total"')
    (error,) = await wait_until(lambda: _errors(quick), 5, exact=True, what="the error log knows in time")
    assert error["error_type"] == "invalid_json"
