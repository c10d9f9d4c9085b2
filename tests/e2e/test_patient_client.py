"""The patient client of the demo: what is not answered is sent again, and acts once."""

import asyncio
from pathlib import Path

import pytest

from shared.contracts.purchases import RecordPurchase
from tests.support.system import System
from tests.support.wait import wait_until
from tests.unit.tools.demo.files import Taken, row, write
from tools.client import NoReply, PatientClient
from tools.demo.orders import CLIENT, Wish
from tools.demo.run import PEER


def peer_of(system: System, *, tries: int) -> PatientClient:
    url = system.amqp_url(PEER)
    return PatientClient(url, app="demo", client=CLIENT, actor=f"service:{PEER}", patience=[1.0] * tries)


def wishes(folder: Path, *numbers: str) -> list[Wish]:
    return Taken(write(folder / "a.csv", *(row(number) for number in numbers))).purchases


async def purchases(system: System) -> int:
    async with system.database("purchases") as database:
        return int(await database.fetchval("SELECT count(*) FROM purchase"))


async def test_a_command_is_sent_again_until_it_is_answered_and_acts_once(fresh_system: System, tmp_path: Path) -> None:
    (wish,) = wishes(tmp_path, "800001")
    async with peer_of(fresh_system, tries=90) as peer:
        asking = asyncio.create_task(peer.ask(RecordPurchase.key, wish.body, wish.message_id))
        await wait_until(lambda: peer.repeats >= 2, what="the command was sent three times")
        await fresh_system.start("purchases")
        answer = await asking
        repeated = await peer.ask(RecordPurchase.key, wish.body, wish.message_id)
    assert answer.accepted
    assert repeated.body == answer.body
    assert await purchases(fresh_system) == 1


async def test_without_any_reply_it_gives_up_in_the_end(fresh_system: System, tmp_path: Path) -> None:
    (wish,) = wishes(tmp_path, "800001")
    async with peer_of(fresh_system, tries=2) as peer:
        with pytest.raises(NoReply):
            await peer.ask(RecordPurchase.key, wish.body, wish.message_id)
    assert peer.repeats == 1


async def test_a_lost_connection_loses_no_command(fresh_system: System, tmp_path: Path) -> None:
    await fresh_system.start("purchases")
    first, second = wishes(tmp_path, "800001", "800002")
    admin = fresh_system.servers.admin

    def cut() -> bool:
        there = admin.get("vhosts", fresh_system.vhost, "connections")
        ours = [one["name"] for one in there if one.get("user") == PEER]
        for name in ours:
            admin.delete("connections", name)
        return len(ours) == 1

    async with peer_of(fresh_system, tries=60) as peer:
        assert (await peer.ask(RecordPurchase.key, first.body, first.message_id)).accepted
        await wait_until(lambda: asyncio.to_thread(cut), 30, what="the connection of the peer is cut")
        assert (await peer.ask(RecordPurchase.key, second.body, second.message_id)).accepted
    assert await purchases(fresh_system) == 2
