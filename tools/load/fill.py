"""Makes up purchases and customers straight in the services' databases, by COPY.

For few rows every constraint is checked as they come. For many, indexes that no constraint needs are dropped and
built again, and the checks of foreign keys are left out where the database's user may do that. Each database is
filled in one transaction: all of it or nothing, with its indexes.
"""

import asyncio
import multiprocessing
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from tools.load.made_up import Made, Plan
from tools.load.rows import TABLES, Copied

if TYPE_CHECKING:
    from tools.load.world import World

_CHUNK: Final = 5_000
_MANY: Final = 50_000
_FEW_DAYS: Final = 0.5
_INDEXES: Final = """
SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
WHERE t.relname = ANY ($1) AND t.relnamespace = 'public'::regnamespace AND NOT i.indisunique
AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
"""
_TAKEN: Final = "SELECT reference_number::bigint FROM purchase"
_IS_SUPERUSER: Final = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
_INBOX: Final = """
INSERT INTO inbox (message_id, handler, fingerprint, reply_type, reply, received_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text || $3), 1, 3)
        || '8' || substr(md5($3 || n::text), 1, 15))::uuid,
       'record_purchase', decode(md5(n::text) || md5($3), 'hex'), 'application/json',
       convert_to(rpad('{"load": "', 300, md5(n::text)) || '"}', 'UTF8'), at
FROM (SELECT n, now() - make_interval(secs => $2 * 86400.0 * (1 - n::float / $1)) AS at FROM generate_series(1, $1) n) s
ON CONFLICT DO NOTHING
"""
_INBOX_DAYS: Final = 28
"""Rows older than the inbox is kept would be purged at once."""


class FillFailed(Exception):
    """A database was not filled; nothing of it has changed."""


@dataclass(frozen=True)
class Filled:
    """A made up purchase that was stored."""

    order: str
    amount: int
    reference_number: str


async def fill_few(world: "World", count: int) -> list[Filled]:
    """Store so many paid purchases with a customer each, with every constraint checked."""
    plan = Plan(
        purchases=count,
        customers=count,
        prefix=f"{world.prefix}f{secrets.token_hex(2)}-",
        client_id=world.client_id,
        salt=secrets.randbits(28),
        until=datetime.now(UTC),
        days=_FEW_DAYS,
    )
    async with world.database("purchases") as database:
        taken = [row[0] for row in await database.fetch(_TAKEN)]
    made = list(plan.make(taken))
    for service in TABLES:
        async with world.database(service) as database, database.transaction():
            await _copy(database, TABLES[service], plan, made)
    return [Filled(f"{plan.prefix}{one.number}", one.gross, str(one.reference_number)) for one in made]


def fill(urls: Mapping[str, str], plan: Plan, progress: Callable[[str, int], None]) -> dict[str, float]:
    """Fill the databases of these services side by side, a process each; returns the seconds that each took.

    Raises FillFailed.
    """
    spawn = multiprocessing.get_context("spawn")
    done = {service: spawn.Value("q", 0) for service in TABLES}
    began = time.monotonic()
    workers = {
        service: spawn.Process(target=_work, args=(service, dict(urls), plan, done[service]), daemon=True)
        for service in TABLES
    }
    for worker in workers.values():
        worker.start()
    seconds: dict[str, float] = {}
    while len(seconds) < len(workers):
        time.sleep(0.2)
        for service, worker in workers.items():
            progress(service, done[service].value)
            if service not in seconds and not worker.is_alive():
                seconds[service] = round(time.monotonic() - began, 1)
    if failed := [service for service, worker in workers.items() if worker.exitcode]:
        raise FillFailed(f"not filled: {', '.join(failed)}")
    return seconds


async def fill_inbox(urls: Mapping[str, str], count: int) -> None:
    """Give each inbox a history of so many handled messages, spread over the days for which it is kept."""
    for service in (*TABLES, "notifications"):
        database = await asyncpg.connect(urls[service], timeout=10)
        try:
            await database.execute("SET statement_timeout = 0")
            await database.execute(_INBOX, count, float(_INBOX_DAYS), secrets.token_hex(4))
            await database.execute("ANALYZE inbox")
        finally:
            await database.close()


def _work(service: str, urls: dict[str, str], plan: Plan, done: Any) -> None:
    asyncio.run(_fill(service, urls, plan, done))


async def _fill(service: str, urls: dict[str, str], plan: Plan, done: Any) -> None:
    taken = await _taken(urls["purchases"])
    tables = TABLES[service]
    names = [copied.table for copied in tables]
    database = await asyncpg.connect(urls[service], timeout=10)
    try:
        await database.execute("SET statement_timeout = 0")
        async with database.transaction():
            indexes = await _make_ready(database, names) if plan.purchases >= _MANY else []
            made = plan.make(taken)
            while chunk := list(islice(made, _CHUNK)):
                await _copy(database, tables, plan, chunk)
                done.value += len(chunk)
            for _, definition in indexes:
                await database.execute(definition)
        for name in names:
            await database.execute(f"VACUUM ANALYZE {name}")
    finally:
        await database.close()


async def _taken(url: str) -> list[int]:
    database = await asyncpg.connect(url, timeout=10)
    try:
        return [row[0] for row in await database.fetch(_TAKEN)]
    finally:
        await database.close()


async def _make_ready(database: "asyncpg.Connection[Any]", tables: Sequence[str]) -> list[tuple[str, str]]:
    """Drop the indexes that can be built again faster; returns how. The transaction puts them back if it fails."""
    await database.execute("SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL synchronous_commit = off")
    if await database.fetchval(_IS_SUPERUSER):
        await database.execute("SET LOCAL session_replication_role = replica")
    indexes = [(str(name), str(definition)) for name, definition in await database.fetch(_INDEXES, list(tables))]
    for name, _ in indexes:
        await database.execute(f'DROP INDEX "{name}"')
    return indexes


async def _copy(
    database: "asyncpg.Connection[Any]", tables: Iterable[Copied], plan: Plan, made: Sequence[Made]
) -> None:
    for copied in tables:
        await database.copy_to_table(
            copied.table, source=_bytes(_lines(copied, plan, made)), columns=list(copied.columns), format="text"
        )


def _lines(copied: Copied, plan: Plan, made: Iterable[Made]) -> Iterator[str]:
    for one in made:
        yield from copied.lines(one, plan)


async def _bytes(lines: Iterator[str]) -> AsyncIterator[bytes]:
    while some := "".join(islice(lines, 2000)):
        yield some.encode()
