"""The inbox as it grows: what a batch of messages costs in it, and what forgetting costs, for several designs.

All designs get the same rows and take turns batch by batch, on one private server, so that what disturbs one disturbs
the others too. Nine of ten ids of the history are UUIDv7, as we and careful senders make them; the tenth is random, as
a sender may choose it.
"""

import asyncio
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import uvloop

from benchmarks.inbox_designs import DESIGNS, OURS, Design, Sessions
from shared.database import create_engine, create_sessions
from shared.ids import new_id
from tools.dev.instance import Instance
from tools.dev.postgres import PostgreSQL

_ROUNDS: Final = 150
_WARM: Final = 10
_BATCH: Final = 50
_REPLY: Final = b'{"reference_number": "123456789", "state": "recorded"}'.ljust(300)
_HANDLER: Final = "record_purchase"
_PAUSE_SECONDS: Final = 0.02
_OLD: Final = (timedelta(days=35), timedelta(days=31))
_KEPT: Final = (timedelta(days=29), timedelta(hours=1))
_NEW: Final = (timedelta(hours=1), timedelta())
_FILL: Final = """
INSERT INTO inbox (message_id, handler, fingerprint, reply_type, reply, received_at)
SELECT (CASE WHEN n % 10 = 0 THEN substr(noise, 1, 12) || '4'
        ELSE lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' END
        || substr(noise, 14, 3) || '8' || substr(noise, 18, 15))::uuid,
       'record_purchase', decode(noise || noise, 'hex'), 'application/json',
       convert_to(rpad('{"load": "', 300, noise) || '"}', 'UTF8'), at
FROM (SELECT n, md5(n::text || $4::text) AS noise, $2::timestamptz + ($3::timestamptz - $2) * (n / $1::float8) AS at
      FROM generate_series(1, $1::float8::int) n) s
"""
_ENTER: Final = """
INSERT INTO inbox (message_id, handler, fingerprint) SELECT * FROM unnest($1::uuid[], $2::varchar[], $3::bytea[])
ON CONFLICT DO NOTHING RETURNING message_id, handler
"""
_ANSWER: Final = "UPDATE inbox SET reply_type = 'application/json', reply = $2 WHERE message_id = $1 AND handler = $3"
_STORED: Final = """
SELECT * FROM inbox WHERE (message_id, handler) IN (SELECT * FROM unnest($1::uuid[], $2::varchar[]))
"""
_SOME: Final = "SELECT message_id FROM inbox TABLESAMPLE BERNOULLI ($1) ORDER BY random() LIMIT $2"
_WAL: Final = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
_SIZES: Final = """
SELECT sum(pg_table_size(oid))::bigint AS table, sum(pg_indexes_size(oid))::bigint AS indexes
FROM pg_class WHERE relkind = 'r' AND relname ~ '^inbox'
"""

Figures = dict[str, float]


@dataclass(frozen=True)
class Contestant:
    """A design with a database of its own."""

    design: Design
    database: "asyncpg.Connection[Any]"
    beside: "asyncpg.Connection[Any]"
    sessions: Sessions


def run(sizes: Sequence[int], old: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure at each number of rows within the window; where that is `old`, as many more are there to be forgotten."""
    instance = Instance("inbox-growth")
    server = PostgreSQL(instance, say)
    with instance.lock():
        instance.ensure_ports()
        server.start()
    try:
        server.wait()
        return uvloop.run(_run(server.url, sizes, old, say))
    finally:
        with instance.lock():
            server.stop()


async def _run(url: str, sizes: Sequence[int], old: int, say: Callable[[str], None]) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": {}, "forgetting": {}}
    async with AsyncExitStack() as stack:
        contestants = [await stack.enter_async_context(_contestant(url, design)) for design in DESIGNS]
        for size in sizes:
            with_old = old if size == old else 0
            await _fill(contestants, size, with_old, say)
            found["rows"][f"{size:,}"] = await _batches(contestants, size + with_old)
            say(f"batches of {_BATCH} on {size:,} rows measured")
            if with_old:
                for one in contestants:
                    found["forgetting"][one.design.name] = await _forgetting(one, old, say)
    found["ratios"] = _ratios(found["rows"])
    return found


@asynccontextmanager
async def _contestant(url: str, design: Design) -> AsyncIterator[Contestant]:
    """A new database, which goes again."""
    name = f"growth_{DESIGNS.index(design)}"
    admin = await asyncpg.connect(url)
    await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {name}")
    own = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    engine = create_engine(own, service="benchmark", pool_size=1)
    database, beside = await asyncpg.connect(own), await asyncpg.connect(own)
    try:
        yield Contestant(design, database, beside, create_sessions(engine))
    finally:
        await engine.dispose()
        await database.close()
        await beside.close()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


async def _fill(contestants: Sequence[Contestant], size: int, old: int, say: Callable[[str], None]) -> None:
    salt, now = secrets.token_hex(4), datetime.now(UTC)

    async def one(contestant: Contestant) -> None:
        database = contestant.database
        await database.execute("DROP TABLE IF EXISTS inbox CASCADE")
        for statement in contestant.design.make():
            await database.execute(statement)
        if old:
            await database.execute(_FILL, float(old), *(now - age for age in _OLD), salt + "old")
        await database.execute(_FILL, float(size), *(now - age for age in _KEPT), salt)
        await database.execute("VACUUM (ANALYZE) inbox")

    began = time.monotonic()
    await asyncio.gather(*(one(contestant) for contestant in contestants))
    say(f"{size:,} rows, and {old:,} to forget, in {time.monotonic() - began:.0f} s")


async def _batches(contestants: list[Contestant], rows: int) -> dict[str, dict[str, Figures]]:
    """New ids of both kinds, and batches that were all handled before: milliseconds and bytes of WAL per batch."""
    known = await _known(contestants[0], rows)
    kinds: dict[str, Callable[[int], list[UUID]]] = {
        "UUIDv7": lambda _: [new_id() for _ in range(_BATCH)],
        "random": lambda _: sorted(uuid4() for _ in range(_BATCH)),
        "repeated": lambda number: known[number * _BATCH : (number + 1) * _BATCH],
    }
    found: dict[str, dict[str, Figures]] = {one.design.name: {} for one in contestants}
    for kind, ids in kinds.items():
        # Each kind begins with a checkpoint: the first change of a page after one writes all of it into the WAL.
        await contestants[0].database.execute("CHECKPOINT")
        taken: dict[str, list[tuple[float, float, float]]] = {one.design.name: [] for one in contestants}
        for number in range(_ROUNDS):
            batch = ids(number)
            for one in contestants[number % len(contestants) :] + contestants[: number % len(contestants)]:
                taken[one.design.name].append(await _batch(one.database, batch))
        for name, taken_by in taken.items():
            passed, used, wal = zip(*taken_by[_WARM:], strict=True)
            found[name][kind] = _spread(passed) | {
                "server_ms": round(statistics.fmean(used), 3),
                "wal_bytes": round(statistics.fmean(wal)),
            }
    return found


async def _known(contestant: Contestant, rows: int) -> list[UUID]:
    wanted = _ROUNDS * _BATCH
    found = await contestant.database.fetch(_SOME, min(100.0, 300.0 * wanted / rows), wanted)
    return [row[0] for row in found]


async def _batch(database: "asyncpg.Connection[Any]", ids: Sequence[UUID]) -> tuple[float, float, float]:
    """What group commit does for a batch: one statement for all; replies for what is new, else what is stored.

    Returns milliseconds, those of them in which the server was busy with it, and bytes of WAL.
    """
    before, used, began = await database.fetchval(_WAL), _busy(database), time.perf_counter()
    async with database.transaction():
        names, prints = [_HANDLER] * len(ids), [b"\x07" * 32] * len(ids)
        if new := await database.fetch(_ENTER, ids, names, prints):
            await database.executemany(_ANSWER, [(row[0], _REPLY, _HANDLER) for row in new])
        else:
            await database.fetch(_STORED, ids, names)
    passed, used = time.perf_counter() - began, _busy(database) - used
    return 1000 * passed, 1000 * used, float(await database.fetchval(_WAL) - before)


def _busy(database: "asyncpg.Connection[Any]") -> float:
    """Seconds of processor time that the server's process of this connection has had."""
    try:
        return int(Path(f"/proc/{database.get_server_pid()}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


async def _forgetting(one: Contestant, old: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Forget the old rows while batches come in, then let the same place fill again, and look for nothing."""
    alone = await _batches_until(one, asyncio.create_task(asyncio.sleep(2, [])))
    before = await one.database.fetchval(_WAL)
    now, began = datetime.now(UTC), time.monotonic()
    purge = asyncio.create_task(_purge(one))
    meanwhile = await _batches_until(one, purge)
    took, rounds = time.monotonic() - began, purge.result()
    wal = await one.database.fetchval(_WAL) - before
    say(f"{one.design.name}: {old:,} rows forgotten in {took:.1f} s and {len(rounds)} rounds")
    sizes = dict(await one.database.fetchrow(_SIZES) or {})
    await one.database.execute("VACUUM (ANALYZE) inbox")
    await one.database.execute(_FILL, float(old), *(now - age for age in _NEW), secrets.token_hex(4))
    await one.database.execute("VACUUM (ANALYZE) inbox")
    idle = []
    for _ in range(3):
        began = time.perf_counter()
        await one.design.forget(one.beside, one.sessions)
        idle.append(1000 * (time.perf_counter() - began))
    return {
        "seconds": round(took, 2),
        "wal_bytes": int(wal),
        "round_ms": _spread(rounds),
        "first_and_last_round_ms": [round(rounds[0], 1), round(rounds[-2], 1)],
        "batch_ms_before": alone,
        "batch_ms_meanwhile": meanwhile,
        "bytes_after": sizes,
        "bytes_after_as_many_new_ones": dict(await one.database.fetchrow(_SIZES) or {}),
        "round_that_finds_nothing_ms": round(statistics.median(idle), 1),
    }


async def _purge(one: Contestant) -> list[float]:
    rounds = []
    found = 1
    while found:
        began = time.perf_counter()
        found = await one.design.forget(one.beside, one.sessions)
        rounds.append(1000 * (time.perf_counter() - began))
    return rounds


async def _batches_until(one: Contestant, task: "asyncio.Task[Any]") -> Figures:
    taken = []
    while not task.done():
        taken.append((await _batch(one.database, [new_id() for _ in range(_BATCH)]))[0])
        await asyncio.sleep(_PAUSE_SECONDS)
    return _spread(taken)


def _spread(milliseconds: Sequence[float]) -> Figures:
    ordered = sorted(milliseconds)
    return {
        "p50": round(statistics.median(ordered), 2),
        "p99": round(ordered[int(len(ordered) * 0.99)], 2),
        "max": round(ordered[-1], 2),
    }


def _ratios(rows: dict[str, dict[str, dict[str, Figures]]]) -> dict[str, float]:
    """By the server's processor time: each design's batch at the largest size to ours, and how ours grows."""
    smallest, largest = next(iter(rows.values())), list(rows.values())[-1]
    found = {
        f"{name} / {OURS}, {kind} ids": round(kinds[kind]["server_ms"] / largest[OURS][kind]["server_ms"], 2)
        for name, kinds in largest.items()
        for kind in kinds
        if name != OURS
    }
    grown = {
        f"{OURS}, {kind} ids, most rows / fewest": round(
            largest[OURS][kind]["server_ms"] / smallest[OURS][kind]["server_ms"], 2
        )
        for kind in largest[OURS]
    }
    return found | grown
