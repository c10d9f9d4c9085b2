"""The load tool on a real system: its figures are of what happened, and its proof fails when something is wrong."""

import contextlib
import html
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from deploy.provision import provision_counting
from shared.contracts.customers import GetCustomer, SearchCustomers
from shared.contracts.purchases import GetPurchase, SearchPurchases
from tests.support.screen import Quiet
from tests.support.servers import TestServers
from tests.support.system import System, new_system
from tests.support.wait import wait_until
from tools.load import fill as filling
from tools.load import report, statements
from tools.load.fill import fill_few
from tools.load.gun import Gun
from tools.load.made_up import Plan
from tools.load.proof import Check, Proof, Prover
from tools.load.result import Result
from tools.load.run import Patience, run_ceiling, run_load
from tools.load.scenario import all_scenarios
from tools.load.shots import CHECKOUT, CONSOLE, RECEIPT, Ledger, Shot, shot
from tools.load.world import World

pytestmark = pytest.mark.timeout(600)
_DATABASES = ("purchases", "customers", "notifications", "errorlog")


@pytest.fixture(scope="module")
async def loaded(servers: TestServers) -> AsyncIterator[System]:
    """A system of these tests alone: the proof looks at every queue and at the whole error log."""
    await provision_counting(servers.database_admin_url)
    async with new_system(servers) as system:
        await system.start()
        yield system


def world(system: System) -> World:
    admin = urlsplit(system.servers.database_admin_url)
    return World(
        amqp_urls={peer: system.amqp_url(peer) for peer in (CHECKOUT, CONSOLE)},
        database_urls={
            name: urlunsplit(admin._replace(path=urlsplit(system.database_url(name)).path)) for name in _DATABASES
        },
        database_admin_url=system.servers.database_admin_url,
        maildir=system.mails.folder,
        http_urls={running.service: running.url for running in system.processes},
        admin=system.servers.admin,
        vhost=system.vhost,
        pids={running.service: running.process.pid for running in system.processes},
    )


async def load(system: System, scenario: str, *, rate: float, seconds: float) -> tuple[World, Result]:
    place = world(system)
    screen = Quiet()
    result = await run_load(
        place, all_scenarios()[scenario], screen, rate=rate, seconds=seconds, patience=Patience(proof=30)
    )
    assert screen.progressed["messages"][-1][0] == round(rate * seconds)
    return place, result


def failed(proof: Proof) -> dict[str, Check]:
    return {check.name: check for check in proof.checks if not check.holds}


async def test_a_run_measures_and_proves_and_its_proof_notices_what_is_missing_or_doubled(
    loaded: System, tmp_path: Path
) -> None:
    place, result = await load(loaded, "refund", rate=6, seconds=5)
    assert failed(result.proof) == {}
    figures = result.figures()
    assert figures["messages"] == {"refund": {"sent": 30, "accepted": 30, "mailed": 30}}
    assert 0 < figures["latency_ms"]["refund: reply"]["p50"] < figures["latency_ms"]["refund: mail"]["p50"]
    assert figures["inside_ms"]["purchases.request_refund"]["count"] == 30
    assert {"purchases", "notifications", "load generator"} <= set(figures["cores"])
    page = (report.write(result, tmp_path) / "report.html").read_text()
    assert len(page) > 5_000
    statements_are_told(figures["database"], page)

    prover = Prover(place, result.ledger)
    await fails_only(prover)
    victim = result.ledger.shots[3]
    async with loaded.database("purchases") as database:
        await database.execute("DELETE FROM manual_payout WHERE refund_id = $1", victim.message_id)
    await fails_only(prover, "paid out, each once")
    async with loaded.database("purchases") as database:
        await database.execute(
            "INSERT INTO manual_payout (refund_id, reference_number, amount, currency) VALUES ($1, $2, $3, 'GBP')",
            victim.message_id, victim.reference_number, victim.amount,
        )  # fmt: skip
    await fails_only(prover)
    mail = next(file for file in (loaded.mails.folder / "new").iterdir() if victim.reference_number in file.read_text())
    mail.with_name(f"{mail.name.partition('.')[0]}.copy.of").write_bytes(mail.read_bytes())
    broken = await fails_only(prover, "mails in the customers' mailboxes")
    assert "too many" in broken["mails in the customers' mailboxes"].wrong[0]


async def fails_only(prover: Prover, *names: str) -> dict[str, Check]:
    """These checks fail and no other, once the broker's figures are as new as the databases'."""
    found: dict[str, Check] = {}

    async def as_expected() -> bool:
        nonlocal found
        found = failed(await prover.compare())
        return list(found) == list(names)

    with contextlib.suppress(AssertionError):
        await wait_until(as_expected, 10)
    assert list(found) == list(names)
    return found


def statements_are_told(found: dict[str, Any], page: str) -> None:
    assert (found["missing"], found["operations"]) == ("", 30)
    assert found["transactions"] >= 60
    assert found["wal_bytes"] >= found["wal_bytes_of_statements"] > 30 * 1000
    assert sum(one["share"] for one in found["services"].values()) == pytest.approx(1, abs=0.01)
    assert found["services"]["purchases"]["calls"] > 30 * 3
    assert len(found["top"]) == 10
    texts = " ".join(one["text"] for one in found["top"])
    assert "refund" in texts
    assert "SELECT count(*) FROM email" not in texts, "what the load tool itself asks"
    assert html.escape(found["top"][0]["text"]) in page


async def test_services_cannot_read_what_others_ask(loaded: System) -> None:
    place = urlsplit(loaded.servers.database_admin_url).path
    service = urlsplit(loaded.database_url("purchases"))._replace(path=place)
    admin = await asyncpg.connect(loaded.servers.database_admin_url)
    try:
        assert await admin.fetchval("SELECT count(*) FROM counting.pg_stat_statements") > 0
    finally:
        await admin.close()
    connection = await asyncpg.connect(urlunsplit(service))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetchval("SELECT count(*) FROM counting.pg_stat_statements")
    finally:
        await connection.close()


async def test_without_counted_statements_the_report_says_so(loaded: System) -> None:
    urls = world(loaded).database_urls
    no_admin = await statements.read(None, urls)
    elsewhere = await statements.read(urls["purchases"], urls)
    for reading in (no_admin, elsewhere):
        found = statements.between(reading, reading, 1)
        assert found["missing"]
        assert "top" not in found
    assert found["missing"] == statements.NOT_COUNTED
    assert found["wal_bytes"] == 0


async def test_what_is_refused_or_never_answered_fails_the_proof(loaded: System) -> None:
    place = world(loaded)
    (paid,) = await fill_few(place, 1)
    first = next(place.baskets.records(place.prefix))
    again = Shot("record", first.key, first.body, order=first.order, amount=first.amount, mail=RECEIPT)
    ledger = Ledger(place.prefix)
    async with Gun(ledger, place.senders()) as gun:
        await gun.fire([first, again, shot("look", GetPurchase(client_order_id=paid.order))], rate=20, seconds=0.15)
        await gun.settle(20)
    assert [one.code for one in ledger.shots] == [None, "client_order_id_taken", None]
    proof = await Prover(place, ledger).wait(20)
    assert failed(proof) == {
        "messages answered with a success": Check(
            "messages answered with a success", 3, 2, ("1 × client_order_id_taken",)
        )
    }


async def test_messages_leave_at_their_planned_times_whatever_the_system_does(fresh_system: System) -> None:
    place = world(fresh_system)
    ledger, records = Ledger(place.prefix), place.baskets.records(place.prefix)
    async with Gun(ledger, place.senders()) as gun:
        await gun.fire(records, rate=50, seconds=1)
        passed, sent = gun.now, len(ledger.shots)
        await gun.settle(0.5)
    assert sent == 50
    assert 0.9 < passed < 5
    assert all(one.answered is None and one.code == "no_reply" for one in ledger.shots)
    gaps = {round(b.planned - a.planned, 6) for a, b in pairwise(ledger.shots)}
    assert gaps == {0.02}


@pytest.mark.parametrize("scenario", ["record", "search", "viewer", "mails", "mixed"])
async def test_every_scenario_runs_and_is_proved(loaded: System, scenario: str) -> None:
    _, result = await load(loaded, scenario, rate=12, seconds=2)
    assert failed(result.proof) == {}
    assert len(result.ledger.shots) == 24


async def test_a_ceiling_ends_with_a_rate_that_was_not_sustained(loaded: System) -> None:
    await loaded.processes[0].wait_ready()
    result = await run_ceiling(
        world(loaded), all_scenarios()["record"], Quiet(), start=20, seconds=2, patience=Patience(proof=60, drain=60)
    )
    assert failed(result.proof) == {}
    assert any(not step.sustained and step.why for step in result.steps)
    assert result.rate == max((step.rate for step in result.steps if step.sustained), default=0.0)


async def test_made_up_purchases_are_found_seen_and_refundable_as_recorded_ones(loaded: System) -> None:
    place = world(loaded)
    filled = (await fill_few(place, 20))[7]
    number = filled.reference_number
    async with loaded.peer("checkout") as peer:
        view = (await peer.ask(GetPurchase(client_order_id=filled.order))).body
        page = (await peer.ask(SearchPurchases(keywords=number))).body
        customer = (await peer.ask(GetCustomer(reference_number=number))).body
        customers = (await peer.ask(SearchCustomers(keywords=number))).body
    money = {"amount": filled.amount, "currency": "GBP"}
    assert (view["gross"], view["paid"], view["refunded"]["amount"]) == (money, money, 0)
    assert [row["reference_number"] for row in page["rows"]] == [number]
    assert [row["customer_id"] for row in customers["rows"]] == [customer["customer_id"]]


async def test_many_rows_leave_every_index_and_every_reference_in_place(
    loaded: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_MANY", 1)
    urls = {name: loaded.database_url(name) for name in _DATABASES}
    plan = Plan(
        purchases=3000, customers=1000, prefix="Fmany-", client_id="demo-shop", salt=77, until=datetime.now(UTC)
    )

    done = SimpleNamespace(value=0)
    for service in ("purchases", "customers"):
        before = await indexes(loaded, service)
        await filling._fill(service, urls, plan, done)
        assert await indexes(loaded, service) == before
    assert done.value == 6000
    async with loaded.database("purchases") as database:
        assert await database.fetchval("SELECT count(*) FROM purchase WHERE client_order_id LIKE 'Fmany-%'") == 3000
    async with loaded.database("customers") as database:
        of_customers = await database.fetchval(
            "SELECT count(DISTINCT customer_id) FROM purchase WHERE client_order_id LIKE 'Fmany-%'"
        )
    assert of_customers == 1000


async def indexes(system: System, service: str) -> list[tuple[str, str]]:
    async with system.database(service) as database:
        rows = await database.fetch("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
    return sorted((row[0], row[1]) for row in rows)
