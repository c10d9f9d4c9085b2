"""People mark errors as mended."""

from dataclasses import replace
from uuid import uuid4

import pytest

from services.errorlog.complete import complete_error
from shared.contracts.errorlog import CompleteError, ErrorChanged, ErrorState, ListErrors
from shared.contracts.refusals import Refused
from tests.integration.errorlog.log import Log


async def complete(log: Log, command: CompleteError, *, client: str | None = None) -> ErrorChanged:
    async with log.by(client=client) as work:
        return await complete_error(work, command)


async def test_a_mended_error_leaves_the_open_ones_and_says_who_mended_it(log: Log) -> None:
    (error_id,) = await log.raise_errors("123456789")
    changed = await complete(log, CompleteError(error_id=error_id, note="Paid by hand.", expected_version=1))
    assert (changed.state, changed.version) == (ErrorState.DONE, 2)
    assert (await log.listed(ListErrors())).rows == ()
    assert [row.error_id for row in (await log.listed(ListErrors(state=None))).rows] == [error_id]
    view = await log.viewed(error_id)
    assert (view.completed_by, view.completion_note) == ("user:ada", "Paid by hand.")
    assert view.completed_at is not None
    ((body, _),) = await log.published("errorlog.error.completed.v1", error_id)
    assert (body["completed_by"], body["reference_number"]) == ("user:ada", "123456789")


async def test_the_same_trouble_after_it_was_mended_is_a_new_entry(log: Log) -> None:
    (first,) = await log.raise_errors("123456789")
    await complete(log, CompleteError(error_id=first))
    entries = await log.raise_errors("123456789")
    assert len(entries) == 2
    assert [entry.occurrences for entry in await log.entries()] == [1, 1]


@pytest.mark.parametrize("code", ["error_already_done", "version_conflict", "error_not_found", "of_another_client"])
async def test_a_refusal_changes_nothing(log: Log, code: str) -> None:
    (error_id,) = await log.raise_errors("123456789")
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


async def test_the_reason_of_the_message_is_kept_with_who_completed_the_error(log: Log) -> None:
    [error_id] = await log.raise_errors("123456789")
    async with log.by() as work:
        because = replace(work, context=replace(work.context, reason="ticket 4711"))
        await complete_error(because, CompleteError(error_id=error_id, note="paid by hand"))
    view = await log.viewed(error_id)
    assert (view.completed_by, view.completion_note, view.completion_reason) == (
        "user:ada",
        "paid by hand",
        "ticket 4711",
    )
