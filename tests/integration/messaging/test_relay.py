"""The relay goes on: after an error of its own, past a row that cannot be sent, and when a queue was full."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from shared.messaging import names
from tests.support.make import purchase
from tests.support.system import System
from tests.support.wait import stays_so, wait_until

_HEADERS = json.dumps({"client-id": "demo-shop", "actor": "service:purchases"})
_KEY = "purchases.purchase.recorded.v1"


async def _write(database: "asyncpg.Connection[Any]", headers: str = _HEADERS, record: str | None = None) -> UUID:
    message_id = uuid4()
    await database.execute(
        "INSERT INTO outbox (message_id, exchange, routing_key, correlation_id, headers, body, record)"
        " VALUES ($1, $2, $3, 'relay', $4, '{}', $5)",
        message_id,
        names.EVENTS,
        _KEY,
        headers,
        record,
    )
    return message_id


async def _is_out(database: "asyncpg.Connection[Any]", message_id: UUID) -> bool:
    return not await database.fetchval("SELECT count(*) FROM outbox WHERE message_id = $1", message_id)


async def _is_held(database: "asyncpg.Connection[Any]", message_id: UUID) -> bool:
    return not await _is_out(database, message_id)


async def test_an_error_of_the_relay_does_not_leave_its_lock_in_the_pool(fresh_system: System) -> None:
    """A connection that goes back to the pool keeps its advisory lock, and the next one waits for it for ever."""
    await fresh_system.start_one("purchases")
    async with fresh_system.peer("checkout") as checkout, fresh_system.database("purchases") as database:
        await asyncio.gather(*(checkout.ask(purchase()) for _ in range(20)))
        await database.execute("ALTER TABLE outbox RENAME TO hidden")
        await asyncio.sleep(3)
        await database.execute("ALTER TABLE hidden RENAME TO outbox")
        written = await _write(database)
        await wait_until(lambda: _is_out(database, written), 15, what="the relay relays again")


async def test_a_row_that_no_frame_can_carry_holds_nobody_up(fresh_system: System) -> None:
    await fresh_system.start_one("purchases")
    async with fresh_system.database("purchases") as database:
        impossible = await _write(database, json.dumps({"number": 10**30}))
        possible = await _write(database)
        await wait_until(lambda: _is_out(database, possible), 15, what="the row behind it is out")
        counted = "SELECT failures >= 2 FROM outbox WHERE message_id = $1"
        await wait_until(lambda: database.fetchval(counted, impossible), 15, what="it is on its way to be set aside")


async def test_messages_of_a_record_arrive_in_the_order_written(fresh_system: System) -> None:
    """Hundreds in one batch, on two records in turns, all handed to the channel before the first confirm."""
    async with fresh_system.database("purchases") as database:
        written = [await _write(database, record=f"record-{number % 2}") for number in range(400)]
    await fresh_system.start_one("purchases")
    async with fresh_system.peer("checkout") as checkout:
        queue = await checkout.channel.get_queue("ext.checkout", ensure=False)
        arrived: list[UUID] = []

        async def have_arrived() -> bool:
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                arrived.append(UUID(message.message_id))
            return len(arrived) >= len(written)

        await wait_until(have_arrived, 30, what="all have arrived")
    assert arrived == written


async def test_what_follows_a_message_that_cannot_leave_waits_for_it(fresh_system: System) -> None:
    """From the second try on: then its record is known to be in trouble."""
    await fresh_system.start_one("purchases")
    async with fresh_system.database("purchases") as database:
        await _write(database, json.dumps({"number": 10**30}), record="in trouble")
        failed = "SELECT coalesce(max(failures), 0) > 0 FROM outbox"
        await wait_until(lambda: database.fetchval(failed), 15, what="it has been tried")
        later = await _write(database, record="in trouble")
        other = await _write(database, record="another")
        await wait_until(lambda: _is_out(database, other), 15, what="another record is not held up")
        await stays_so(lambda: _is_held(database, later), 2)
        aside = "SELECT count(*) > 0 FROM outbox WHERE set_aside_at IS NOT NULL"
        await wait_until(lambda: database.fetchval(aside), 40, what="the first is set aside")
        await wait_until(lambda: _is_out(database, later), 15, what="the one behind it goes on")


async def test_a_full_queue_is_waited_for(fresh_system: System) -> None:
    """The broker says no to the message as long as one queue of several is full. That is no fault of the row."""
    admin, vhost = fresh_system.servers.admin, fresh_system.vhost
    policy = {
        "pattern": "^customers\\.events$",
        "definition": {"max-length": 1, "overflow": "reject-publish"},
        "apply-to": "queues",
        "priority": 100,
    }
    await asyncio.to_thread(admin.put, "policies", vhost, "tiny", body=policy)
    await fresh_system.start_one("purchases")
    async with fresh_system.database("purchases") as database:
        waiting = "SELECT count(*), coalesce(sum(failures), 0), count(set_aside_at) FROM outbox"

        async def is_held_back() -> bool:
            await _write(database)
            return bool((await database.fetchrow(waiting))[0] > 5)  # type: ignore[index]

        await wait_until(is_held_back, 60, every=0.5, what="the queue is full")

        async def is_patient() -> bool:
            count, failures, aside = await database.fetchrow(waiting)  # type: ignore[misc]
            return bool(count and not failures and not aside)

        await stays_so(is_patient, 15, what="rows wait and nothing is held against them")
        await asyncio.to_thread(admin.delete, "policies", vhost, "tiny")
        await wait_until(lambda: database.fetchval("SELECT count(*) = 0 FROM outbox"), 60, what="all rows are out")
