"""A service as two processes: one takes commands and events, the other one answers queries."""

import asyncio
import urllib.request

import asyncpg
import pytest

from shared.contracts.purchases import SearchPurchases
from tests.support.make import purchase
from tests.support.system import Running, System
from tools.load.measured import read

CHANGES = {"PURCHASES_CONSUMES": "changes"}
QUERIES = {"PURCHASES_CONSUMES": "queries"}


async def handled_by(process: Running) -> set[str]:
    """What a process has handled since it started."""
    return {name.partition(".")[2] for name, handled in (await read({"": process.url})).items() if handled.count}


async def make_read_only(system: System, service: str) -> None:
    connection = await asyncpg.connect(system.servers.database_admin_url)
    await connection.execute(f'ALTER DATABASE "{system.databases[service]}" SET default_transaction_read_only = on')
    await connection.close()


async def end_sessions(system: System, service: str) -> None:
    connection = await asyncpg.connect(system.servers.database_admin_url)
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1"
    assert await connection.fetchval(ended, system.databases[service]) > 0
    await connection.close()


def metric(process: Running, name: str) -> float:
    with urllib.request.urlopen(f"{process.url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")))


async def test_each_takes_its_share_and_nothing_else(fresh_system: System) -> None:
    changing = await fresh_system.start_one("purchases", env=CHANGES)
    async with fresh_system.peer("checkout") as checkout:
        recorded = (await checkout.ask(purchase())).body
        query = SearchPurchases(keywords=recorded["reference_number"])
        with pytest.raises(TimeoutError):
            await checkout.ask(query, timeout=2)
        answering = await fresh_system.start_one("purchases", env=QUERIES)
        rows = (await checkout.ask(query)).body["rows"]
        again = (await checkout.ask(purchase())).body
    assert [row["reference_number"] for row in rows] == [recorded["reference_number"]]
    assert again["status"] == "paid"
    assert await handled_by(answering) == {"search_purchases"}
    assert await handled_by(changing) == {"record_purchase"}
    assert metric(changing, "outbox_relay_active") == 1
    assert metric(answering, "outbox_relay_active") == 0


async def test_queries_are_answered_while_nobody_takes_changes(fresh_system: System) -> None:
    """Standing by for the relay or running jobs would be changes too."""
    changing = await fresh_system.start_one("purchases", env=CHANGES)
    answering = await fresh_system.start_one("purchases", env=QUERIES)
    async with fresh_system.peer("checkout") as checkout, fresh_system.database("purchases") as database:
        number = (await checkout.ask(purchase())).body["reference_number"]
        await changing.kill()
        await database.execute(
            "INSERT INTO outbox (message_id, exchange, routing_key, correlation_id, headers, body)"
            " VALUES (gen_random_uuid(), 'aftersale.events', 'purchases.purchase.recorded.v1', 'x', '{}', '{}')"
        )
        rows = (await checkout.ask(SearchPurchases(keywords=number))).body["rows"]
        await asyncio.sleep(2)
        assert await database.fetchval("SELECT count(*) FROM outbox") > 0
    assert [row["reference_number"] for row in rows] == [number]
    assert answering.is_ready


async def test_queries_can_be_answered_from_a_database_that_only_reads(fresh_system: System) -> None:
    """As a replica does. To every other process that is an outage."""
    changing = await fresh_system.start_one("purchases", env=CHANGES)
    async with fresh_system.peer("checkout") as checkout:
        recorded = (await checkout.ask(purchase())).body
        await changing.stop()
        await make_read_only(fresh_system, "purchases")
        answering = await fresh_system.start_one("purchases", env=QUERIES)
        query = SearchPurchases(keywords=recorded["reference_number"])
        assert len((await checkout.ask(query)).body["rows"]) == 1
        await end_sessions(fresh_system, "purchases")
        assert len((await checkout.ask(query, timeout=20)).body["rows"]) == 1
    assert answering.is_ready
