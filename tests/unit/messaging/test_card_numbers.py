"""A card number anywhere is found, whatever it is dressed in; what only looks like one is left alone."""

import json
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.card_numbers import holds_card_number, mask, may_hold_card_number, texts
from shared.messaging.inbound.bodies import masked


def luhn_number(payload: str) -> str:
    total = 0
    for index, character in enumerate(reversed(payload)):
        doubled = int(character) * (1 if index % 2 else 2)
        total += doubled - 9 if doubled > 9 else doubled
    return payload + str(-total % 10)


cards = st.text("0123456789", min_size=12, max_size=18).filter(lambda text: set(text) != {"0"}).map(luhn_number)
separators = st.sampled_from(["", " ", "-", "\u00a0", "\u2011"])
scripts = st.sampled_from(["0123456789", "٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９", "०१२३४५६७८९"])


@given(cards, separators, scripts)
def test_a_card_number_is_found_and_masked(card: str, separator: str, script: str) -> None:
    digits = card.translate(str.maketrans("0123456789", script))
    text = "paid with " + separator.join(digits) + ", thanks"
    assert holds_card_number(text)
    hidden = mask(text)
    assert not holds_card_number(hidden)
    assert sum(character.isdigit() for character in hidden) == 4
    assert len(hidden) == len(text)


@given(cards)
def test_a_card_number_is_masked_in_any_body(card: str) -> None:
    for body in (
        json.dumps({"note": card}).encode(),
        json.dumps({"deep": [{card: int("9" + card[1:]) if card[0] == "0" else int(card)}]}).encode(),
        ("{" + card).encode(),
        card.encode("utf-16"),
        b"\xff\xfe\x00garbage " + card.encode(),
        b'{"escaped": "\\u0034%s"}' % luhn_number("4" + card[1:12])[1:].encode(),
    ):
        text = masked(body).decode("utf-8", "replace").replace("\x00", "")
        assert not holds_card_number(text)
        assert card[:-4] not in text


@pytest.mark.parametrize(
    "text",
    [
        "0190a5c1-4111-1111-8111-411111111111",
        "00000000-0000-4000-8000-000000000000",
        "+49 151 1234 5678 9014",
        "reference 123456789",
        "2026-11-22T01:28:00.123456+00:00",
        "0000 0000 0000 0000",
        "4111 1111 1111 1112",
        "",
    ],
)
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    assert not holds_card_number(text)
    assert mask(text) == text


def test_no_id_is_a_card_number() -> None:
    chance = Random(11)
    for _ in range(5000):
        identity = UUID(int=chance.getrandbits(128))
        trace = f"00-{identity.hex}-{chance.getrandbits(64):016x}-01"
        for text in (
            str(identity),
            identity.hex,
            identity.hex.upper(),
            f"flow-{identity}",
            f"flow {identity.hex}",
            trace,
        ):
            assert mask(text) == text


@pytest.mark.parametrize("around", ["{}{}", "{}-{}", "{} {}", "x{}{}", "{}{}x"])
def test_a_card_number_with_more_beside_it_than_an_id_has_is_found(around: str) -> None:
    assert holds_card_number(around.format(luhn_number("411111111111111"), "a" * 17))


def test_a_card_number_beside_another_number_is_found() -> None:
    assert mask("item 5 4111 1111 1111 1111 7") == "item * **** **** **** *111 7"


@given(cards, separators, scripts, st.text(max_size=5), st.booleans())
def test_a_body_that_is_not_searched_holds_none(
    card: str, separator: str, script: str, around: str, ensure_ascii: bool
) -> None:
    """The quick look at the bytes may only say no where the search would find nothing."""
    text = around + separator.join(card.translate(str.maketrans("0123456789", script))) + around
    for value in (text, {text: 1}, [int(card)]):
        body = json.dumps(value, ensure_ascii=ensure_ascii).encode("utf-8", "surrogatepass")
        if any(holds_card_number(each) for each in texts(value)):
            assert may_hold_card_number(body)


@pytest.mark.parametrize("body", [b'{"note":"call 555 1234"}', b'{"id":"0190c2f4-7d1a-7c3e-9b2f-1a2b3c4d5e6f"}'])
def test_an_ordinary_body_is_not_searched(body: bytes) -> None:
    assert not may_hold_card_number(body)
