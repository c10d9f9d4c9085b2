"""People look through the errors."""

from uuid import UUID

import pytest

from shared.contracts.errorlog import ListErrors
from shared.contracts.refusals import Refused
from tests.integration.errorlog.log import Log, dead_letter, json_body


async def test_the_list_is_newest_first_and_pages_meet_without_gap_or_overlap(log: Log) -> None:
    wanted = await log.raise_errors(*(f"10000000{number}" for number in range(7)))
    seen: list[UUID] = []
    cursor: str | None = None
    for _ in range(4):
        page = await log.listed(ListErrors(limit=2, cursor=cursor))
        seen += [row.error_id for row in page.rows]
        cursor = page.next_cursor
    assert seen == sorted(wanted, reverse=True)
    assert cursor is None


async def test_a_new_error_does_not_move_the_pages(log: Log) -> None:
    await log.raise_errors("100000001", "100000002", "100000003")
    first = await log.listed(ListErrors(limit=2))
    await log.raise_errors("100000004")
    second = await log.listed(ListErrors(limit=2, cursor=first.next_cursor))
    assert [row.reference_number for row in (*first.rows, *second.rows)] == ["100000003", "100000002", "100000001"]


async def test_a_cursor_of_another_list_is_refused(log: Log) -> None:
    with pytest.raises(Refused) as refused:
        await log.listed(ListErrors(cursor="abc"))
    assert refused.value.code == "cursor_invalid"


async def test_the_list_is_narrowed_by_purchase_and_type(log: Log) -> None:
    await log.raise_errors("123456789", "987654321")
    await log.bury(dead_letter(client_id=log.client, reference_number="123456789"))
    of_purchase = await log.listed(ListErrors(reference_number="123456789"))
    of_type = await log.listed(ListErrors(error_type="attempts_used_up"))
    assert {row.error_type for row in of_purchase.rows} == {"refund_failed", "attempts_used_up"}
    assert [row.reference_number for row in of_type.rows] == ["123456789"]


async def test_a_client_sees_its_own_errors_and_who_may_ask_for_all_sees_all(log: Log) -> None:
    (error_id,) = await log.raise_errors("123456789")
    other = f"{log.client}-other"
    assert (await log.listed(ListErrors(), client=other)).rows == ()
    with pytest.raises(Refused) as refused:
        await log.viewed(error_id, client=other)
    assert refused.value.code == "error_not_found"
    everywhere = await log.listed(ListErrors(limit=100), client="*")
    assert error_id in {row.error_id for row in everywhere.rows}
    assert (await log.viewed(error_id, client="*")).client_id == log.client


async def test_a_view_shows_the_last_message_that_failed(log: Log) -> None:
    await log.bury(dead_letter(client_id=log.client, body=json_body(number=1), attempts=1))
    last = dead_letter(client_id=log.client, body=json_body(name="Ödön"), attempts=2, headers={"client-id": log.client})
    await log.bury(last)
    (entry,) = await log.entries()
    view = await log.viewed(entry.id)
    assert (view.occurrences, view.message_id) == (2, str(last.message_id))
    assert view.body == '{"name": "\\u00d6d\\u00f6n"}'
    assert (view.queue, view.routing_key) == ("purchases.commands", "purchases.refund.request.v1")
    assert view.headers == {"client-id": log.client}


@pytest.mark.parametrize(
    ("body", "shown"),
    [(b"\xff\xfe", None), ("é".encode() * 40_000, "é" * 32_768), (b"x" + "é".encode() * 40_000, "x" + "é" * 32_767)],
)
async def test_a_body_is_shown_if_it_is_text(log: Log, body: bytes, shown: str | None) -> None:
    await log.bury(dead_letter(client_id=log.client, body=body))
    (entry,) = await log.entries()
    assert (await log.viewed(entry.id)).body == shown
