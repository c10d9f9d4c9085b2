"""A message that cannot be handled ends in the error log, where support finds it by the purchase, and mends it."""

from typing import Any
from uuid import UUID, uuid4

from shared.contracts.errorlog import CompleteError, ErrorSource, GetError, ListErrors
from tests.support.peer import Peer
from tests.support.system import System
from tests.support.wait import wait_until

PAYMENT = "purchases.payment.record.v1"


async def the_error(console: Peer, **wanted: Any) -> dict[str, Any]:
    """The one open error of this kind, once it is there."""

    async def found() -> dict[str, Any] | None:
        answer = await console.ask(ListErrors(**wanted))
        assert answer.code is None, answer.body
        rows: list[dict[str, Any]] = answer.body["rows"]
        return rows[0] if rows else None

    row: dict[str, Any] | None = await wait_until(found, what=f"an error {wanted}")
    assert row is not None
    return row


async def test_a_body_that_nobody_understands_is_found_by_its_purchase_and_mended(system: System) -> None:
    client = f"shop-{uuid4().hex[:8]}"
    reference = "123456789"
    async with system.peer("checkout", client=client) as checkout, system.peer("console", client=client) as console:
        console.actor = "user:ada"
        body = b'{"reference_number": "123456789", "note": "4111 1111 1111 1111 is no amount"}'
        message_id = await checkout.send(PAYMENT, body)
        row = await the_error(console, reference_number=reference)
        assert row["source"] == ErrorSource.DEAD_LETTER
        assert row["client_id"] == client
        view = (await console.ask(GetError(error_id=UUID(row["error_id"])))).body
        assert view["message_id"] == message_id
        assert view["routing_key"] == PAYMENT
        assert view["queue"] == "purchases.commands"
        assert "4111" not in view["body"]
        done = await console.ask(CompleteError(error_id=UUID(row["error_id"]), expected_version=row["version"]))
        assert done.code is None, done.body
        again = await console.ask(CompleteError(error_id=UUID(row["error_id"])))
        assert again.code == "error_already_done"
        assert again.body["facts"]["completed_by"] == "user:ada"
        assert (await console.ask(ListErrors(reference_number=reference))).body["rows"] == []


async def test_a_forged_client_does_not_reach_the_other_clients_list(system: System) -> None:
    victim = f"shop-{uuid4().hex[:8]}"
    async with system.peer("checkout", client=victim) as checkout, system.peer("console", client=victim) as console:
        console.actor = "user:ada"
        headers = {"client-id": victim, "actor": "user:somebody-else"}
        await checkout.send(PAYMENT, b'{"reference_number": "123456789"}', headers=headers)
        everywhere = {"client-id": "*", "actor": "user:ada"}

        async def logged() -> list[dict[str, Any]]:
            answer = await console.ask(ListErrors(error_type="forbidden_actor"), headers=everywhere)
            assert answer.code is None, answer.body
            return list(answer.body["rows"])

        (row,) = await wait_until(logged, what="the refusal in the list of the platform")
        assert row["client_id"] == "platform"
        assert (await console.ask(ListErrors())).body["rows"] == []
