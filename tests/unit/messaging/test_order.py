"""What is about the same record stays in order; everything else goes side by side."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from shared.messaging.inbound.keyed_lock import KeyedLock
from shared.messaging.outbound.relay import OutboxRow, in_turns


async def test_the_same_record_is_handled_in_order_and_others_side_by_side() -> None:
    keyed_lock = KeyedLock()
    done: list[tuple[str | None, int]] = []
    others_ran = asyncio.Event()

    async def handle(record: str | None, number: int) -> None:
        async with keyed_lock.enter(record):
            if record == "a" and number == 0:
                await others_ran.wait()
            done.append((record, number))

    tasks = [asyncio.create_task(handle("a", number)) for number in range(5)]
    tasks += [asyncio.create_task(handle(record, 9)) for record in ("b", None)]
    await asyncio.wait(tasks[-2:])
    assert sorted(done, key=str) == [("b", 9), (None, 9)] or sorted(done, key=str) == [(None, 9), ("b", 9)]
    others_ran.set()
    await asyncio.gather(*tasks)
    assert [number for record, number in done if record == "a"] == [0, 1, 2, 3, 4]
    assert not keyed_lock._locks


def test_a_failing_message_frees_its_lane() -> None:
    async def run() -> None:
        keyed_lock = KeyedLock()
        for _ in range(2):
            try:
                async with asyncio.timeout(1), keyed_lock.enter("a"):
                    raise LookupError
            except LookupError:
                pass
        assert not keyed_lock._locks

    asyncio.run(run())


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=40), st.sets(st.sampled_from(["a", "b"])))
def test_the_relay_takes_turns_for_careful_records_only(records: list[str | None], careful: set[str]) -> None:
    rows = cast(
        list[OutboxRow],
        [cast(Any, SimpleNamespace(id=number, order_key=record)) for number, record in enumerate(records)],
    )
    turns = list(in_turns(rows, careful))
    assert sorted(row.id for turn in turns for row in turn) == list(range(len(records)))
    for record in ("a", "b", "c", None):
        order = [row.id for turn in turns for row in turn if row.order_key == record]
        assert order == sorted(order)
        most = max((sum(row.order_key == record for row in turn) for turn in turns), default=0)
        assert most <= 1 if record in careful else most == records.count(record)
    assert len(turns) == max((records.count(record) for record in careful), default=0) or len(turns) <= 1
