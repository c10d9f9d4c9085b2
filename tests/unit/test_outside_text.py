"""What others say is made fit for a message and never refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.card_numbers import holds_card_number
from shared.contracts.values import LONGEST_LINE, Line, as_line
from shared.outside_text import outside_line

LINE = TypeAdapter(Line)
NOTHING = "nothing was said"
any_text = st.text(st.characters(exclude_categories=())) | st.text(
    "a1 \t\r\n\x00\u202e\u0301\ufb2c\ud800é", max_size=400
)


def is_line(text: str) -> bool:
    try:
        return LINE.validate_python(text) == text
    except ValidationError:
        return False


@given(any_text)
def test_any_text_becomes_a_line(text: str) -> None:
    assert is_line(as_line(text, fallback=NOTHING))
    assert is_line(outside_line(text, fallback=NOTHING))


@given(any_text)
def test_a_line_stays_as_it_is(text: str) -> None:
    if is_line(text):
        assert as_line(text, fallback=NOTHING) == text
        assert holds_card_number(text) or outside_line(text, fallback=NOTHING) == text


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("card expired", "card expired"),
        ("card expired\r\n\tsee code 51\n", "card expired see code 51"),
        ("two  blanks", "two  blanks"),
        ("a\x00b\u202ec\ud800d", "a b c d"),
        ("e\u0301", "é"),
        ("x" * 254 + " y", "x" * 254),
        ("", NOTHING),
        (" \n\x00\u202e", NOTHING),
    ],
)
def test_what_is_kept(said: str, kept: str) -> None:
    assert as_line(said, fallback=NOTHING) == kept


@pytest.mark.parametrize("place", range(LONGEST_LINE - 25, LONGEST_LINE + 5))
def test_no_cut_and_no_line_break_hides_a_card_number(place: int) -> None:
    kept = outside_line("x" * place + " 4111\n1111\n1111\n1111", fallback=NOTHING)
    assert "4111" not in kept
    assert len(kept) <= LONGEST_LINE


@given(st.text("0123456789 -\n", max_size=600))
def test_listeners_refuse_none_of_it(text: str) -> None:
    assert not holds_card_number(outside_line(text, fallback=NOTHING))
