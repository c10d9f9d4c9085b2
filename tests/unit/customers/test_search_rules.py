"""What a keyword may mean, and under which terms a customer is found."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.customers.identity.rules import LONGEST_TERM, fold, fold_email
from services.customers.search_rules import RULES, KeyKind, keys_of, keys_of_purchase
from shared.contracts.refusals import Refused
from shared.search.keywords import Key, Keyword, Prefix, parse_keywords

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).filter(
    lambda name: "," not in name and "@" not in name and fold(name).strip("@. ") and fold(name.strip()) == fold(name)
)


def meant(keyword: Keyword, keys: frozenset[Key]) -> bool:
    """Whether a customer with these terms is found."""
    return any(
        key.kind == meaning.kind
        and (key.term.startswith(meaning.term) if isinstance(meaning, Prefix) else key.term == meaning.term)
        for meaning in keyword.meanings
        for key in keys
    )


@given(name=NAMES, length=st.integers(1, 60))
def test_a_customer_is_found_by_every_beginning_of_its_name(name: str, length: int) -> None:
    beginning = name[:length]
    if not fold(beginning).strip("@. "):
        return
    keys = keys_of([{"last_name": name}])
    for keyword in parse_keywords(fold(name)[: len(fold(beginning))] + ",", RULES):
        assert meant(keyword, keys)


@given(box=st.text(max_size=300))
def test_whatever_is_typed_fits_into_an_index(box: str) -> None:
    try:
        keywords = parse_keywords(box, RULES)
    except Refused:
        return
    for keyword in keywords:
        assert all(len(meaning.term.encode(errors="replace")) <= LONGEST_TERM + 1 for meaning in keyword.meanings)


@given(text=st.text(max_size=400))
def test_folding_twice_changes_nothing(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded or len(folded.encode()) > LONGEST_TERM - 8


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("123456789", {KeyKind.REFERENCE_NUMBER, KeyKind.LAST_NAME, KeyKind.COMPANY}),
        ("012345678", {KeyKind.LAST_NAME, KeyKind.COMPANY}),
        ("4242", {KeyKind.CARD_LAST4, KeyKind.LAST_NAME, KeyKind.COMPANY}),
        ("ada@example.com", {KeyKind.EMAIL}),
        ("@example.com", {KeyKind.EMAIL_DOMAIN}),
        ("lovelace", {KeyKind.LAST_NAME, KeyKind.COMPANY}),
    ],
)
def test_what_a_keyword_may_mean(text: str, kinds: set[KeyKind]) -> None:
    (keyword,) = parse_keywords(text, RULES)
    assert {meaning.kind for meaning in keyword.meanings} == kinds


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("123456789", "ada@example.com"),
        ("ada@example.com", "lovelace"),
        ("lovelace", "@example.com"),
        ("4242", "@example.com"),
    ],
)
def test_the_most_selective_keyword_drives(more: str, less: str) -> None:
    (one,), (two,) = parse_keywords(more, RULES), parse_keywords(less, RULES)
    assert one.selectivity > two.selectivity


def test_a_purchase_is_found_by_number_and_card() -> None:
    assert {key.kind for key in keys_of_purchase("123456789", "4242")} == {
        KeyKind.REFERENCE_NUMBER,
        KeyKind.CARD_LAST4,
    }
    assert len(keys_of_purchase("123456789", None)) == 1


@given(address=st.text(string.ascii_letters, min_size=1, max_size=20))
def test_addresses_are_compared_without_case(address: str) -> None:
    assert fold_email(f"{address}@EXAMPLE.com") == fold_email(f"{address.swapcase()}@example.COM")
