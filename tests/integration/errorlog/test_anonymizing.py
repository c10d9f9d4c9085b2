"""Failed messages and errors of a forgotten customer tell of nobody, whenever they come."""

from typing import Any

import pytest

from services.errorlog.anonymize import anonymize_errors
from services.errorlog.complete import complete_error
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.errorlog import CompleteError, PurchasesErrorRaised
from shared.ids import new_id
from tests.integration.errorlog.log import Log, dead_letter, json_body

CUSTOMER = new_id()
NUMBER = "555000111"
EVENT = CustomerAnonymized(customer_id=CUSTOMER, version=2, reference_numbers=(NUMBER,), client_order_ids=("order-1",))
PERSON = {"last_name": "Forgotten", "country": "DE"}


async def forget(log: Log, *, client: str | None = None) -> None:
    async with log.act(client=client) as work:
        await anonymize_errors(work, EVENT)


async def everything(log: Log) -> str:
    parts: list[Any] = []
    for entry in await log.entries():
        parts += [entry.note, entry.facts, entry.completion_note]
        parts += [message.body.decode() for message in await log.failed(entry.id)]
    return str(parts)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "named",
    [
        {"reference_number": NUMBER},
        {"client_order_id": "order-1"},
        {"customer_id": str(CUSTOMER)},
    ],
)
async def test_a_failed_message_is_recognized_by_what_it_names(log: Log, named: dict[str, str], late: bool) -> None:
    letter = dead_letter(client_id=log.client, body=json_body(billing_contact=PERSON, **named))
    if late:
        await forget(log)
    await log.bury(letter)
    if not late:
        await forget(log)
    (entry,) = await log.entries()
    (kept,) = await log.failed(entry.id)
    assert b"Forgotten" not in kept.body
    assert b'"country":"DE"' in kept.body.replace(b": ", b":")


@pytest.mark.parametrize("late", [False, True])
async def test_notes_and_facts_of_a_raised_error_go(log: Log, late: bool) -> None:
    error = PurchasesErrorRaised(
        error_type="refund_failed",
        title="A refund failed",
        note="Forgotten called",
        reference_number=NUMBER,
        facts={"who": "Forgotten", "refund_id": "r-1", "tries": 3},
    )
    if late:
        await forget(log)
    await log.raise_error(error)
    if not late:
        await forget(log)
    (entry,) = await log.entries()
    assert (entry.note, entry.facts) == ("XXX", {"who": "XXX", "refund_id": "r-1", "tries": 3})
    assert "Forgotten" not in await everything(log)


@pytest.mark.parametrize("late", [False, True])
async def test_what_is_written_when_an_error_is_completed_is_not_kept(log: Log, late: bool) -> None:
    await log.raise_error(PurchasesErrorRaised(error_type="refund_failed", title="Failed", reference_number=NUMBER))
    (entry,) = await log.entries()
    if late:
        await forget(log)
    async with log.act(reason="Forgotten wrote") as work:
        await complete_error(work, CompleteError(error_id=entry.id, note="Forgotten called"))
    if not late:
        await forget(log)
    (entry,) = await log.entries()
    assert (entry.completion_note, entry.completion_reason) == ("XXX", "XXX")
    assert "Forgotten" not in str(await log.outbox_rows())


async def test_others_are_left_alone(log: Log) -> None:
    for named in ({"reference_number": "987654321"}, {"client_order_id": "order-2"}, {"customer_id": str(new_id())}):
        body = json_body(billing_contact=PERSON, **named)
        await log.bury(dead_letter(client_id=log.client, body=body, error_at=str(named)))
    await log.bury(dead_letter(client_id=log.client, body=json_body(billing_contact=PERSON, client_order_id="order-1")))
    await forget(log, client=f"{log.client}-other")
    assert (await everything(log)).count("Forgotten") == 4


@pytest.mark.parametrize("body", [b'{"customer_id": "a\\u0000b"}', b"\xff\xfe", b"[1]", b'{"client_order_id": 7}'])
async def test_what_names_nobody_is_kept_as_it_is(log: Log, body: bytes) -> None:
    await log.bury(dead_letter(client_id=log.client, body=body))
    await forget(log)
    (entry,) = await log.entries()
    assert [message.body for message in await log.failed(entry.id)] == [body]


async def test_of_what_is_not_json_nothing_stays(log: Log) -> None:
    await log.bury(dead_letter(client_id=log.client, body=b"Forgotten, not JSON", reference_number=NUMBER))
    await forget(log)
    assert "Forgotten" not in await everything(log)
