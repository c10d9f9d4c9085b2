"""The services as processes on their own broker, database and mail catcher: they come up, take a message, and end."""

from uuid import uuid4

from shared.contracts.purchases import SearchPurchases
from tests.support.system import System


async def test_a_peer_gets_an_answer(system: System) -> None:
    async with system.peer("console", actor="user:ada") as console:
        answer = await console.ask(SearchPurchases(keywords=f"{uuid4().hex}@example.com"))
    assert answer.code is None, answer.body
    assert answer.body["rows"] == []


async def test_a_killed_service_comes_back_and_goes_on(fresh_system: System) -> None:
    first = await fresh_system.start_one("purchases")
    await first.kill()
    async with fresh_system.peer("console", actor="user:ada") as console:
        second = await fresh_system.start_one("purchases")
        answer = await console.ask(SearchPurchases(keywords="lovelace"))
    assert answer.code is None, answer.body
    assert await second.stop() == 0
