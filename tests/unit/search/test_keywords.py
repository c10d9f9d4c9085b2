"""What is made of a search box, whatever the service's kinds."""

from collections.abc import Iterator
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.refusals import Refused
from shared.search.folding import folded
from shared.search.keywords import MOST_KEYWORDS, Column, Key, KeywordRules, Prefix, parse_keywords


class Kind(StrEnum):
    COLOUR = "colour"
    NAME = "name"
    PLATE = "plate"


def meanings(text: str) -> Iterator[Key]:
    if text.isdecimal():
        yield Column("number", text)
    if text.startswith("#"):
        yield Key(Kind.COLOUR, folded(text))
        return
    if text.startswith("!"):
        yield Key(Kind.PLATE, folded(text))
    yield Prefix(Kind.NAME, folded(text))


RULES = KeywordRules(folded, meanings, common=(Kind.COLOUR, Kind.NAME), unique=frozenset({"number"}))


def test_keywords_are_separated_by_commas_and_counted_once() -> None:
    keywords = parse_keywords(" Smith , #red,, Smith ", RULES)
    assert [keyword.meanings for keyword in keywords] == [
        (Prefix(Kind.NAME, "smith"),),
        (Key(Kind.COLOUR, "#red"),),
    ]


@pytest.mark.parametrize("box", [",", " , ,", "@", "@.", ". , @", "\x00"])
def test_a_box_without_a_keyword_is_refused(box: str) -> None:
    with pytest.raises(Refused, match="no_keywords") as refusal:
        parse_keywords(box, RULES)
    assert refusal.value.facts == {}


def test_too_many_keywords_are_refused() -> None:
    many = [f"k{number}" for number in range(MOST_KEYWORDS + 1)]
    assert len(parse_keywords(",".join(many[:-1]), RULES)) == MOST_KEYWORDS
    with pytest.raises(Refused, match="too_many_keywords") as refusal:
        parse_keywords(",".join(many), RULES)
    assert refusal.value.facts == {"most": 10}


def test_a_keyword_finds_as_few_as_its_commonest_meaning_unless_it_may_be_unique() -> None:
    keywords = parse_keywords("smith, 4711, #red, !b-xy", RULES)
    ranked = sorted(keywords, key=lambda keyword: keyword.selectivity)
    assert [keyword.meanings[0] for keyword in ranked] == [
        Key(Kind.COLOUR, "#red"),
        Prefix(Kind.NAME, "smith"),
        Key(Kind.PLATE, "!b-xy"),
        Column("number", "4711"),
    ]
    assert ranked[1].selectivity == ranked[2].selectivity < ranked[3].selectivity


def test_the_form_of_a_keyword_has_no_words() -> None:
    (one, two, other) = parse_keywords("smith, jones, #red", RULES)
    assert one.form == two.form != other.form
    assert "smith" not in repr(one.form)


@given(text=st.text(min_size=1, max_size=100))
def test_any_text_is_either_keywords_or_refused(text: str) -> None:
    try:
        keywords = parse_keywords(text, RULES)
    except Refused as refusal:
        assert refusal.code in {"no_keywords", "too_many_keywords"}  # noqa: PT017 - both outcomes are right
        return
    assert 1 <= len(keywords) <= MOST_KEYWORDS
    for keyword in keywords:
        assert keyword.meanings
        assert all("\x00" not in meaning.term for meaning in keyword.meanings)
