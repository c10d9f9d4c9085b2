"""Errors come in: each once, next to its purchase, without card numbers."""

import asyncio
from typing import Any

import pytest

from services.errorlog.rules import MAX_KEPT_BYTES, MAX_KEPT_REFUSALS
from shared.contracts.errorlog import NotificationsErrorRaised, PurchasesErrorRaised
from tests.integration.errorlog.log import DIED, Log, dead_letter, json_body

LOGGED = "errorlog.error.logged.v1"
CARD = "4111 1111 1111 1111"


def refund_failed(**changes: Any) -> PurchasesErrorRaised:
    return PurchasesErrorRaised(
        **{"error_type": "refund_failed", "title": "A refund failed", "reference_number": "123456789", **changes}
    )


async def test_a_raised_error_becomes_an_entry_and_is_told_once(log: Log) -> None:
    await log.raise_error(refund_failed(note="The provider says no.", item_number=2, facts={"tries": 3}))
    (entry,) = await log.entries()
    assert (entry.source, entry.error_type, entry.service) == ("raised", "refund_failed", "purchases")
    assert (entry.reference_number, entry.item_number, entry.facts) == ("123456789", 2, {"tries": 3})
    assert (entry.state, entry.occurrences, entry.created_by) == ("open", 1, "service:purchases")
    ((body, headers),) = await log.published(LOGGED, entry.id)
    assert body["reference_number"] == "123456789"
    assert headers["client-id"] == log.client
    assert headers["cloudEvents_subject"] == "123456789"


async def test_repeats_are_counted_where_the_error_stands(log: Log) -> None:
    for number in range(3):
        await log.raise_error(refund_failed(title=f"Try {number}"))
    (entry,) = await log.entries()
    assert (entry.occurrences, entry.title, entry.version) == (3, "Try 0", 1)
    assert entry.first_seen < entry.last_seen
    assert await log.told(LOGGED) == 1


async def test_ten_at_once_are_one_entry_with_ten_occurrences(log: Log) -> None:
    await asyncio.gather(*(log.raise_error(refund_failed()) for _ in range(10)))
    (entry,) = await log.entries()
    assert entry.occurrences == 10
    assert await log.told(LOGGED) == 1


async def test_another_purchase_item_service_or_client_is_another_entry(log: Log) -> None:
    await log.raise_error(refund_failed())
    await log.raise_error(refund_failed(reference_number="987654321"))
    await log.raise_error(refund_failed(item_number=1))
    await log.raise_error(
        NotificationsErrorRaised(error_type="refund_failed", title="x", reference_number="123456789"),
        user="notifications",
    )
    other = f"{log.client}-other"
    await log.raise_error(refund_failed(), client=other)
    assert len(await log.entries()) == 4
    assert len(await log.entries(client_id=other)) == 1


async def test_errors_of_one_cause_bear_the_same_fingerprint_at_every_purchase(log: Log) -> None:
    for reference in ("123456789", "987654321"):
        await log.raise_error(refund_failed(fingerprint="provider down", reference_number=reference))
    one, other = await log.entries()
    assert one.fingerprint == other.fingerprint
    assert one.same_trouble != other.same_trouble


async def test_a_dead_letter_stands_next_to_its_purchase_with_what_a_retry_needs(log: Log) -> None:
    letter = dead_letter(
        client_id=log.client, body=json_body(reference_number="123456789", kind="total"), headers={"actor": "user:bob"}
    )
    await log.bury(letter)
    (entry,) = await log.entries()
    assert (entry.source, entry.error_type, entry.service) == ("dead_letter", "attempts_used_up", "purchases")
    assert (entry.reference_number, entry.message_id) == ("123456789", letter.message_id)
    assert entry.title == "purchases.refund.request.v1 failed in every attempt"
    assert entry.facts["exception"] == "ValueError"
    assert entry.facts["raised_at"] == letter.error_at
    assert entry.first_seen == DIED
    (kept,) = await log.failed(entry.id)
    assert (kept.queue, kept.exchange, kept.routing_key) == (letter.queue, letter.exchange, letter.key)
    assert (kept.body, kept.headers, kept.sender) == (letter.body, {"actor": "user:bob"}, "checkout")
    ((_, headers),) = await log.published(LOGGED, entry.id)
    assert headers["client-id"] == log.client


async def test_a_dead_letter_that_comes_twice_is_counted_once_and_a_second_death_twice(log: Log) -> None:
    letter = dead_letter(client_id=log.client)
    await log.bury(letter)
    await log.bury(letter)
    (entry,) = await log.entries()
    assert (entry.occurrences, len(await log.failed(entry.id))) == (1, 1)
    await log.bury(dead_letter(client_id=log.client, message_id=letter.message_id, attempts=6))
    (entry,) = await log.entries()
    assert (entry.occurrences, len(await log.failed(entry.id))) == (2, 2)


async def test_every_message_of_one_cause_is_kept(log: Log) -> None:
    letters = [dead_letter(client_id=log.client, body=json_body(number=number)) for number in range(4)]
    await asyncio.gather(*(log.bury(letter) for letter in letters))
    (entry,) = await log.entries()
    assert entry.occurrences == 4
    assert sorted(kept.body for kept in await log.failed(entry.id)) == sorted(letter.body for letter in letters)


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        ({"reference_number": "123456789", "body": json_body(reference_number="987654321")}, "123456789"),
        ({"headers": {"x-aftersale-reference": "123456789"}}, "123456789"),
        ({"body": json_body(reference_number="no number")}, None),
        ({"body": b'["123456789"]'}, None),
        ({"body": b"[" * 100_000}, None),
        ({"body": b"\xff\xfe"}, None),
    ],
)
async def test_the_reference_number_is_found_where_there_is_one(
    log: Log, given: dict[str, Any], reference: str | None
) -> None:
    await log.bury(dead_letter(client_id=log.client, **given))
    (entry,) = await log.entries()
    assert entry.reference_number == reference


async def test_no_card_number_is_kept_anywhere(log: Log) -> None:
    await log.raise_error(refund_failed(title=f"Card {CARD}", note=f"Again {CARD}", facts={"card": CARD}))
    await log.bury(
        dead_letter(
            client_id=log.client,
            reason="delivery_limit",
            user="purchases",
            body=json_body(note=CARD),
            headers={"x": CARD},
            detail=CARD,
        )
    )
    await log.bury(dead_letter(client_id=log.client, body=b"\xff" + CARD.encode()))
    entries = await log.entries()
    kept = [message for entry in entries for message in await log.failed(entry.id)]
    assert (len(entries), len(kept)) == (3, 2)
    told = [str((entry.title, entry.note, entry.facts)) for entry in entries]
    told += [str((message.body, message.headers)) for message in kept]
    assert not any("4111" in text or "1111 1111" in text for text in told)
    assert any("1111" in text for text in told)


async def test_what_strangers_write_cannot_stop_the_log(log: Log) -> None:
    await log.bury(
        dead_letter(
            client_id=log.client,
            key="k\x00\n" * 200,
            queue="q" * 300,
            user="u" * 300,
            correlation_id="c\ud800" * 300,
            reason="Odd \x1b reason" * 20,
            handler=None,
            error_type=None,
            error_at=None,
            headers={f"h{number}\x00": "v" * 5000 for number in range(90)},
            body=b"\x00" * (MAX_KEPT_BYTES + 5000),
        )
    )
    (entry,) = await log.entries()
    (kept,) = await log.failed(entry.id)
    assert (len(kept.body), kept.body_bytes) == (MAX_KEPT_BYTES, MAX_KEPT_BYTES + 5000)
    assert len(kept.headers) == 50
    assert entry.error_type == "dead_letter"


async def test_a_client_named_by_a_stranger_sees_nothing_of_it(log: Log) -> None:
    letter = dead_letter(client_id=log.client, reason="forbidden_client", correlation_id=log.client)
    await log.bury(letter)
    assert await log.entries() == []
    (entry,) = await log.entries(client_id="platform", message_id=letter.message_id)
    ((_, headers),) = await log.published(LOGGED, entry.id)
    assert headers["client-id"] == "platform"


async def test_rubbish_is_counted_but_does_not_fill_the_disk(log: Log) -> None:
    key = f"{log.client}.x.v1"
    for number in range(MAX_KEPT_REFUSALS + 5):
        await log.bury(dead_letter(key=key, handler=None, reason="message_id_missing", body=json_body(n=number)))
    (entry,) = await log.entries(client_id="platform", title=f"{key} has no message id")
    assert entry.occurrences == MAX_KEPT_REFUSALS + 5
    assert len(await log.failed(entry.id)) == MAX_KEPT_REFUSALS
