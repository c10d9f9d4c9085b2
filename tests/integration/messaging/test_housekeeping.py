"""Handled messages are forgotten after their window, and not before."""

import asyncio
from typing import Any

import asyncpg
import pytest

from services.purchases.models import PurchasesTables
from shared.database import create_engine, create_sessions
from shared.ids import new_id
from shared.messaging.host import housekeeping
from tests.support.servers import SERVICE_NAMES, TestServers


@pytest.mark.parametrize("service", SERVICE_NAMES)
async def test_every_inbox_can_be_read_by_age(servers: TestServers, service: str) -> None:
    url = await servers.new_database(service, f"age_{service}")
    connection = await asyncpg.connect(url)
    try:
        index = "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_inbox_received_at'"
        assert "USING btree (received_at)" in await connection.fetchval(index)
    finally:
        await connection.close()
        await servers.drop_databases(f"age_{service}")


async def test_a_round_that_finds_nothing_does_not_read_the_inbox(servers: TestServers) -> None:
    """Where rows have been forgotten, new ones lie among the places of old ones: an index of page ranges is no use."""
    url = await servers.new_database("purchases", "purge_pages")
    connection = await asyncpg.connect(url)
    try:
        # Nobody else reads it: the pages that autovacuum reads count as well, and it comes when it likes.
        await connection.execute("ALTER TABLE inbox SET (autovacuum_enabled = false)")
        for age, forgotten in (("31 days", 4000), ("1 day", 0)):
            await connection.execute(
                "INSERT INTO inbox (message_id, handler, fingerprint, received_at) SELECT gen_random_uuid(), 'h', '',"
                f" now() - interval '{age}' FROM generate_series(1, 4000)"
            )
            assert await forgotten_in(url) == forgotten
            await connection.execute("VACUUM ANALYZE inbox")
        before = await pages_read(connection)
        assert before > 0
        assert await forgotten_in(url) == 0
        pages = await connection.fetchval("SELECT relpages FROM pg_class WHERE relname = 'inbox'")
        assert await pages_read(connection) - before < pages / 4
    finally:
        await connection.close()
        await servers.drop_databases("purge_pages")


async def forgotten_in(url: str) -> int:
    """A round in a session of its own, which tells its counters when it ends."""
    engine = create_engine(url, service="test")
    try:
        return await housekeeping.forget_handled(create_sessions(engine), PurchasesTables.inbox)
    finally:
        await engine.dispose()


async def pages_read(connection: "asyncpg.Connection[Any]") -> int:
    """Pages of the table itself that anybody has read. A session tells its counters once a second at most."""
    await asyncio.sleep(1.2)
    await connection.execute("SELECT 1")
    statement = "SELECT heap_blks_read + heap_blks_hit FROM pg_statio_user_tables WHERE relname = 'inbox'"
    return int(await connection.fetchval(statement))


async def test_the_oldest_rows_go_first(servers: TestServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 1)
    url = await servers.new_database("purchases", "purge_oldest")
    engine = create_engine(url, service="test")
    connection = await asyncpg.connect(url)
    try:
        for days in (33, 40, 35):
            await connection.execute(
                "INSERT INTO inbox (message_id, handler, fingerprint, received_at)"
                f" VALUES (gen_random_uuid(), '{days}', '', now() - interval '{days} days')"
            )
        for left in (["33", "35"], ["33"], []):
            assert await housekeeping.forget_handled(create_sessions(engine), PurchasesTables.inbox) == 1
            found = await connection.fetch("SELECT handler FROM inbox ORDER BY handler")
            assert [row[0] for row in found] == left
    finally:
        await connection.close()
        await engine.dispose()
        await servers.drop_databases("purge_oldest")


async def test_only_rows_older_than_the_window_go(servers: TestServers) -> None:
    url = await servers.new_database("purchases", "purge_purchases")
    engine = create_engine(url, service="test")
    inbox = PurchasesTables.inbox
    try:
        async with engine.begin() as connection:
            for age, count in (("29 days 23 hours", 3), ("30 days 1 hour", 7)):
                for _ in range(count):
                    await connection.exec_driver_sql(
                        "INSERT INTO inbox (message_id, handler, fingerprint, received_at)"
                        f" VALUES ('{new_id()}', 'h', '', now() - interval '{age}')"
                    )
        sessions = create_sessions(engine)
        assert await housekeeping.forget_handled(sessions, inbox) == 7
        assert await housekeeping.forget_handled(sessions, inbox) == 0
        async with engine.connect() as connection:
            left = (await connection.exec_driver_sql("SELECT count(*) FROM inbox")).scalar_one()
        assert left == 3
    finally:
        await engine.dispose()
        await servers.drop_databases("purge_purchases")
