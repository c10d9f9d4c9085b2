"""One hop, written by hand with aio-pika and asyncpg: what the same guarantees cost without any plumbing.

The same queues, the same inbox and outbox rows, the same confirms and acknowledgements after the commit; no
framework, no models, no checks. Either each message has a transaction of its own, or those that wait share one.
Run as `python -m benchmarks.floors ROLE BATCH` with ROLE one of ledger, relay, tally; addresses from the environment.
"""

import asyncio
import hashlib
import json
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import aio_pika
import asyncpg
import uvloop
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage

from shared.messaging import names

PREFETCH: Final = 100
CONNECTIONS: Final = 8
RELAYED: Final = 500
EVENT_KEY: Final = "ledger.deposit.booked.v1"
_BOOK: Final = f"""
WITH new AS (
    INSERT INTO inbox (message_id, handler, fingerprint, reply_type, reply)
    VALUES ($1, 'book_deposit', $2, 'application/json', $3) ON CONFLICT DO NOTHING RETURNING 1),
changed AS (
    UPDATE account SET balance = balance + $5, version = version + 1 WHERE id = $4 AND EXISTS (SELECT FROM new)),
told AS (
    INSERT INTO outbox (message_id, exchange, routing_key, record, correlation_id, headers, body)
    SELECT $6, '{names.EVENTS}', '{EVENT_KEY}', $4::text, $1::text, $7::jsonb, $8 FROM new RETURNING 1)
SELECT pg_notify('outbox', ''), count(*) FROM told
"""  # noqa: S608 - our own names
_BOOK_MANY: Final = f"""
WITH new AS (
    INSERT INTO inbox (message_id, handler, fingerprint, reply_type, reply)
    SELECT id, 'book_deposit', print, 'application/json', reply
    FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) given (id, print, reply) ORDER BY id
    ON CONFLICT DO NOTHING RETURNING message_id),
fresh AS (
    SELECT given.* FROM unnest($1::uuid[], $4::int[], $5::bigint[], $6::uuid[], $7::text[], $8::bytea[])
        given (id, account, amount, event, headers, body) JOIN new ON new.message_id = given.id),
changed AS (
    UPDATE account a SET balance = balance + s.amount, version = version + s.times
    FROM (SELECT account, sum(amount) AS amount, count(*) AS times FROM fresh GROUP BY account ORDER BY account) s
    WHERE a.id = s.account),
told AS (
    INSERT INTO outbox (message_id, exchange, routing_key, record, correlation_id, headers, body)
    SELECT event, '{names.EVENTS}', '{EVENT_KEY}', account::text, id::text, headers::jsonb, body FROM fresh RETURNING 1)
SELECT pg_notify('outbox', ''), count(*) FROM told
"""  # noqa: S608 - our own names
_TAKE: Final = """
DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id, message_id, exchange, routing_key, correlation_id, headers, body, created_at
"""
_NOTE: Final = """
WITH new AS (
    INSERT INTO inbox (message_id, handler, fingerprint) SELECT id, 'on_deposit_booked', print
    FROM unnest($1::uuid[], $2::bytea[]) given (id, print) ORDER BY id ON CONFLICT DO NOTHING RETURNING message_id)
INSERT INTO entry (id, account, began) SELECT given.id, given.account, given.began
FROM unnest($1::uuid[], $3::int[], $4::float8[]) given (id, account, began) JOIN new ON new.message_id = given.id
"""
Handle = Callable[[Sequence[AbstractIncomingMessage]], Awaitable[None]]


class Batches:
    """Messages that wait are handled together: what is there, at most so many, no timer, one loop."""

    def __init__(self, handle: Handle, largest: int) -> None:
        self._handle = handle
        self._largest = largest
        self._queue: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._loop = asyncio.create_task(self._run())

    async def put(self, message: AbstractIncomingMessage) -> None:
        self._queue.put_nowait(message)

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._largest and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._handle(batch)
            for message in batch:
                await message.ack()


async def ledger(batch: int) -> None:
    """Book deposits."""
    pool = await asyncpg.create_pool(os.environ["LEDGER_DATABASE_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS)

    async def many(messages: Sequence[AbstractIncomingMessage]) -> None:
        rows = [_booking(message) for message in messages]
        await pool.fetchrow(_BOOK_MANY, *(list(column) for column in zip(*rows, strict=True)))

    async def one(message: AbstractIncomingMessage) -> None:
        await pool.fetchrow(_BOOK, *_booking(message))
        await message.ack()

    connection = await _connect("LEDGER")
    await _consume(connection, "ledger.commands", Batches(many, batch).put if batch > 1 else one)


async def relay(_batch: int) -> None:
    """Send what was booked: confirms awaited together, rows deleted in the same transaction."""
    database = await asyncpg.connect(os.environ["LEDGER_DATABASE_URL"])
    listening = await asyncpg.connect(os.environ["LEDGER_DATABASE_URL"])
    woken = asyncio.Event()
    await listening.add_listener("outbox", lambda *_: woken.set())
    connection = await _connect("LEDGER")
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.get_exchange(names.EVENTS, ensure=False)
    while True:
        woken.clear()
        async with database.transaction():
            rows = sorted(await database.fetch(_TAKE, RELAYED), key=lambda row: int(row["id"]))
            await asyncio.gather(*(_publish(exchange, row) for row in rows))
        if len(rows) < RELAYED:
            try:
                await asyncio.wait_for(woken.wait(), 1)
            except TimeoutError:
                continue


async def tally(batch: int) -> None:
    """Note what was booked."""
    pool = await asyncpg.create_pool(os.environ["TALLY_DATABASE_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS)

    async def many(messages: Sequence[AbstractIncomingMessage]) -> None:
        bodies = [json.loads(message.body) for message in messages]
        await pool.execute(
            _NOTE,
            [uuid.UUID(message.message_id) for message in messages],
            [_fingerprint(message) for message in messages],
            [body["account"] for body in bodies],
            [body["began"] for body in bodies],
        )

    async def one(message: AbstractIncomingMessage) -> None:
        await many([message])
        await message.ack()

    connection = await _connect("TALLY")
    await _consume(connection, "tally.events", Batches(many, batch).put if batch > 1 else one)


def _booking(message: AbstractIncomingMessage) -> tuple[Any, ...]:
    body = json.loads(message.body)
    reply = json.dumps({"account": body["account"]}).encode()
    headers = json.dumps({"client-id": "bench", "actor": "service:bench", "causation-id": message.message_id})
    identity = uuid.UUID(message.message_id)
    return (
        identity, _fingerprint(message), reply, body["account"], body["amount"], uuid.uuid4(), headers, message.body,
    )  # fmt: skip


def _fingerprint(message: AbstractIncomingMessage) -> bytes:
    return hashlib.sha256(message.body).digest()


async def _publish(exchange: AbstractExchange, row: Any) -> None:
    message = aio_pika.Message(
        row["body"],
        headers=json.loads(row["headers"]),
        message_id=str(row["message_id"]),
        correlation_id=row["correlation_id"],
        type=row["routing_key"],
        content_type="application/json",
        timestamp=row["created_at"],
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    await exchange.publish(message, row["routing_key"], mandatory=False)


async def _connect(prefix: str) -> AbstractConnection:
    return await aio_pika.connect(os.environ[f"{prefix}_AMQP_URL"])


async def _consume(
    connection: AbstractConnection, name: str, callback: Callable[[AbstractIncomingMessage], Awaitable[Any]]
) -> None:
    channel: AbstractChannel = await connection.channel()
    await channel.set_qos(prefetch_count=PREFETCH)
    queue = await channel.get_queue(name, ensure=False)
    await queue.consume(callback)


async def main(role: str, batch: int) -> None:
    """Play a role until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    playing = asyncio.create_task({"ledger": ledger, "relay": relay, "tally": tally}[role](batch))
    ending = asyncio.create_task(ended.wait())
    done, _ = await asyncio.wait((playing, ending), return_when=asyncio.FIRST_COMPLETED)
    if playing in done:
        # The consumers work on in the background once they are set up; an error ends the process at once.
        playing.result()
        await ending


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
