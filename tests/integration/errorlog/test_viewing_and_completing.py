"""People look through the errors and mark them as mended."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from services.errorlog.complete import complete_error
from services.errorlog.view import get_error, list_errors
from shared.contracts.errorlog import (
    CompleteError,
    ErrorChanged,
    ErrorPage,
    ErrorState,
    ErrorView,
    GetError,
    ListErrors,
    PurchasesErrorRaised,
)
from shared.contracts.refusals import Refused
from tests.integration.errorlog.log import Log, dead_letter, json_body


async def raise_errors(log: Log, *references: str) -> list[UUID]:
    for reference in references:
        await log.raise_error(
            PurchasesErrorRaised(error_type="refund_failed", title="A refund failed", reference_number=reference)
        )
    return [entry.id for entry in await log.entries()]


async def complete(log: Log, command: CompleteError, *, client: str | None = None) -> ErrorChanged:
    async with log.act(client=client) as work:
        return await complete_error(work, command)


async def listed(log: Log, query: ListErrors, *, client: str | None = None) -> ErrorPage:
    async with log.act(client=client) as work:
        return await list_errors(work, query)


async def viewed(log: Log, error_id: UUID, *, client: str | None = None) -> ErrorView:
    async with log.act(client=client) as work:
        return await get_error(work, GetError(error_id=error_id))


async def test_a_mended_error_leaves_the_open_ones_and_says_who_mended_it(log: Log) -> None:
    (error_id,) = await raise_errors(log, "123456789")
    changed = await complete(log, CompleteError(error_id=error_id, note="Paid by hand.", expected_version=1))
    assert (changed.state, changed.version) == (ErrorState.DONE, 2)
    assert (await listed(log, ListErrors())).rows == ()
    assert [row.error_id for row in (await listed(log, ListErrors(state=None))).rows] == [error_id]
    view = await viewed(log, error_id)
    assert (view.completed_by, view.completion_note) == ("user:ada", "Paid by hand.")
    assert view.completed_at is not None
    ((body, _),) = await log.published("errorlog.error.completed.v1", error_id)
    assert (body["completed_by"], body["reference_number"]) == ("user:ada", "123456789")


async def test_the_same_trouble_after_it_was_mended_is_a_new_entry(log: Log) -> None:
    (first,) = await raise_errors(log, "123456789")
    await complete(log, CompleteError(error_id=first))
    entries = await raise_errors(log, "123456789")
    assert len(entries) == 2
    assert [entry.occurrences for entry in await log.entries()] == [1, 1]


@pytest.mark.parametrize("code", ["error_already_done", "version_conflict", "error_not_found", "of_another_client"])
async def test_a_refusal_changes_nothing(log: Log, code: str) -> None:
    (error_id,) = await raise_errors(log, "123456789")
    command, client = CompleteError(error_id=error_id), None
    if code == "error_already_done":
        await complete(log, command)
    elif code == "version_conflict":
        command = CompleteError(error_id=error_id, expected_version=7)
    elif code == "error_not_found":
        command = CompleteError(error_id=uuid4())
    else:
        client, code = f"{log.client}-other", "error_not_found"
    (before,) = await log.entries()
    with pytest.raises(Refused) as refused:
        await complete(log, command, client=client)
    (after,) = await log.entries()
    assert refused.value.code == code
    if code == "version_conflict":
        assert refused.value.facts == {
            "expected_version": 7,
            "version": 1,
            "changed_by": before.changed_by,
            "changed_at": before.changed_at.isoformat(),
        }
    assert (after.version, after.state, after.changed_at) == (before.version, before.state, before.changed_at)
    assert len(await log.published("errorlog.error.completed.v1", error_id)) == (1 if before.state == "done" else 0)


async def test_two_people_complete_an_error_at_one_moment(log: Log) -> None:
    (error_id,) = await raise_errors(log, "123456789")
    command = CompleteError(error_id=error_id, expected_version=1)
    async with log.act() as work:
        await complete_error(work, command)
        second = asyncio.create_task(complete(log, command))
        await log.until_waiting()
    with pytest.raises(Refused) as refusal:
        await second
    assert refusal.value.code == "error_already_done"
    assert len(await log.published("errorlog.error.completed.v1", error_id)) == 1


async def test_the_list_is_newest_first_and_pages_meet_without_gap_or_overlap(log: Log) -> None:
    wanted = await raise_errors(log, *(f"10000000{number}" for number in range(7)))
    seen: list[UUID] = []
    cursor: str | None = None
    for _ in range(4):
        page = await listed(log, ListErrors(limit=2, cursor=cursor))
        seen += [row.error_id for row in page.rows]
        cursor = page.next_cursor
    assert seen == sorted(wanted, reverse=True)
    assert cursor is None


async def test_a_new_error_does_not_move_the_pages(log: Log) -> None:
    await raise_errors(log, "100000001", "100000002", "100000003")
    first = await listed(log, ListErrors(limit=2))
    await raise_errors(log, "100000004")
    second = await listed(log, ListErrors(limit=2, cursor=first.next_cursor))
    assert [row.reference_number for row in (*first.rows, *second.rows)] == ["100000003", "100000002", "100000001"]


async def test_a_cursor_of_another_list_is_refused(log: Log) -> None:
    with pytest.raises(Refused) as refused:
        await listed(log, ListErrors(cursor="abc"))
    assert refused.value.code == "cursor_invalid"


async def test_the_list_is_narrowed_by_purchase_and_type(log: Log) -> None:
    await raise_errors(log, "123456789", "987654321")
    await log.bury(dead_letter(client_id=log.client, reference_number="123456789"))
    of_purchase = await listed(log, ListErrors(reference_number="123456789"))
    of_type = await listed(log, ListErrors(error_type="attempts_used_up"))
    assert {row.error_type for row in of_purchase.rows} == {"refund_failed", "attempts_used_up"}
    assert [row.reference_number for row in of_type.rows] == ["123456789"]


async def test_a_client_sees_its_own_errors_and_who_may_ask_for_all_sees_all(log: Log) -> None:
    (error_id,) = await raise_errors(log, "123456789")
    other = f"{log.client}-other"
    assert (await listed(log, ListErrors(), client=other)).rows == ()
    with pytest.raises(Refused) as refused:
        await viewed(log, error_id, client=other)
    assert refused.value.code == "error_not_found"
    everywhere = await listed(log, ListErrors(limit=100), client="*")
    assert error_id in {row.error_id for row in everywhere.rows}
    assert (await viewed(log, error_id, client="*")).client_id == log.client


async def test_a_view_shows_the_last_message_that_failed(log: Log) -> None:
    await log.bury(dead_letter(client_id=log.client, body=json_body(number=1), attempts=1))
    last = dead_letter(client_id=log.client, body=json_body(name="Ödön"), attempts=2, headers={"client-id": log.client})
    await log.bury(last)
    (entry,) = await log.entries()
    view = await viewed(log, entry.id)
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
    assert (await viewed(log, entry.id)).body == shown


async def test_the_reason_of_the_message_is_kept_with_who_completed_the_error(log: Log) -> None:
    [error_id] = await raise_errors(log, "123456789")
    async with log.act() as work:
        because = replace(work, context=replace(work.context, reason="ticket 4711"))
        await complete_error(because, CompleteError(error_id=error_id, note="paid by hand"))
    view = await viewed(log, error_id)
    assert (view.completed_by, view.completion_note, view.completion_reason) == (
        "user:ada",
        "paid by hand",
        "ticket 4711",
    )
