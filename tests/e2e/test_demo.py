"""The demo on a real system: everything arrives, the proof is real, and a second run doubles nothing."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.screen import Quiet
from tests.support.servers import TestServers
from tests.support.system import System, new_system
from tests.unit.tools.demo.files import row, write
from tools.demo.customers import contact_of
from tools.demo.mails import CONFIRMATION, find_new_mails, read_mails
from tools.demo.orders import CLIENT
from tools.demo.reading import Tally, find_files
from tools.demo.run import PEER, Patience, Place, Summary, run_demo
from tools.dev.demo import SHIPPED
from tools.dev.instance import CHECKOUT

REAL_DATA = Path(os.environ.get("AFTERSALE_REAL_DATA", CHECKOUT.parent / "shared" / "data" / "online-retail"))
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
async def shop(servers: TestServers) -> AsyncIterator[System]:
    """A system whose purchases, mails and errors are those of the demo alone."""
    async with new_system(servers) as system:
        await system.start()
        yield system


@pytest.fixture
def real_data() -> Path:
    """Transactions of a real shop, in a folder beside the checkout; they are not part of the project."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data: {REAL_DATA} is missing; AFTERSALE_REAL_DATA names the folder")
    return REAL_DATA


def place(system: System) -> Place:
    return Place(
        amqp_url=system.amqp_url(PEER),
        database_urls={name: system.database_url(name) for name in ("purchases", "notifications", "errorlog")},
        maildir=system.mails.folder,
    )


async def demo(system: System, *files: Path, limit: int | None = None, screen: Quiet | None = None) -> Summary:
    return await run_demo(
        place(system), find_files(files), screen or Quiet(), limit=limit, patience=Patience(mails=30, proof=15)
    )


async def counts(system: System) -> dict[str, int]:
    """All rows of the demo's client, read here by other statements than the demo's."""
    async with system.database("purchases") as database:
        purchases = await database.fetchval("SELECT count(*) FROM purchase")
        refunds = await database.fetchval("SELECT count(*) FROM refund")
        payouts = await database.fetchval("SELECT count(*) FROM manual_payout")
    async with system.database("notifications") as database:
        emails = await database.fetchval("SELECT count(*) FROM email")
    mails = len(system.mails.all())
    return {"purchases": purchases, "refunds": refunds, "payouts": payouts, "emails": emails, "mails": mails}


async def test_the_file_of_the_project_goes_all_the_way_and_a_second_run_doubles_nothing(shop: System) -> None:
    screen = Quiet()
    first = await demo(shop, SHIPPED, screen=screen)
    assert first.proof.differences == ()
    assert first.holds
    assert (first.invoices, first.purchases, first.refunds, first.mails) == (42, 30, 6, 36)
    assert first.already_there == {"purchases": 0, "refunds": 0, "mails": 0}
    assert not first.refusals
    assert not first.errors
    last = {name: reached[-1] for name, reached in screen.progressed.items()}
    assert last == {"invoices": (42, 42), "refunds": (6, 6), "mails": (36, 36)}
    there = await counts(shop)
    assert there == {"purchases": 30, "refunds": 6, "payouts": 6, "emails": 36, "mails": 36}
    assert first.example is not None
    happened = {entry["subject"] for entry in first.example["history"]}
    assert {"purchase.recorded", "refund.requested", "refund.completed", "email.sent"} <= happened

    second = await demo(shop, SHIPPED)
    assert second.holds
    assert second.already_there == {"purchases": 30, "refunds": 6, "mails": 36}
    assert (second.purchases, second.refunds, second.mails) == (30, 6, 36)
    assert await counts(shop) == there


async def test_a_mail_that_is_gone_makes_the_proof_fail(shop: System, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", row("700001", "A", 3), row("700002", "A", 2), row("C700003", "A", -1))
    assert (await demo(shop, file)).holds
    mails = read_mails(batch for batches in find_new_mails(shop.mails.folder, lambda _: False) for batch in batches)
    email = contact_of("17850", "United Kingdom", Tally()).email
    gone = next(mail.file for mail in mails if mail.kind == CONFIRMATION and mail.recipient == email)
    (shop.mails.folder / "new" / gone).unlink()
    summary = await run_demo(place(shop), [file], Quiet(), patience=Patience(mails=0.5, proof=0.5))
    assert not summary.holds
    assert {difference.what for difference in summary.proof.differences} == {
        "confirmations in the mail catcher are not those of the completed refunds",
        "mail in the notifications database that never reached the catcher",
    }


async def test_a_purchase_that_was_changed_in_the_database_makes_the_proof_fail(shop: System, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", row("710001", "A", 3))
    assert (await demo(shop, file)).holds
    async with shop.database("purchases") as database:
        await database.execute("UPDATE purchase SET reference_number = '999999998' WHERE client_order_id = '710001'")
    summary = await run_demo(place(shop), [file], Quiet(), patience=Patience(mails=0.5, proof=0.5))
    assert not summary.holds
    assert "accepted, but not in the purchases database as it was sent" in {
        difference.what for difference in summary.proof.differences
    }


async def test_a_refused_request_is_counted_and_the_rest_goes_on(shop: System, tmp_path: Path) -> None:
    await demo(shop, write(tmp_path / "a.csv", row("720001", "A", 1)))
    changed = write(tmp_path / "b.csv", row("720001", "A", 2), row("720002", "A", 1), row("C720003", "A", -1))
    summary = await demo(shop, changed)
    assert summary.refusals == {"purchase client_order_id_taken": 1}
    assert (summary.purchases, summary.refunds) == (1, 1)
    assert summary.holds


async def test_everything_is_sent_in_the_name_of_the_peer(shop: System) -> None:
    await demo(shop, SHIPPED, limit=3)
    async with shop.database("purchases") as database:
        found = await database.fetch("SELECT DISTINCT client_id, created_by FROM purchase")
    assert [tuple(one) for one in found] == [(CLIENT, f"service:{PEER}")]


async def test_a_real_shop(shop: System, real_data: Path) -> None:
    summary = await demo(shop, real_data, limit=200)
    assert summary.proof.differences == ()
    assert summary.holds
    assert summary.invoices == 200
    assert summary.purchases > 100
    assert summary.refunds > 0
    assert not summary.refusals
    assert summary.tally.unusable.total() > 0
