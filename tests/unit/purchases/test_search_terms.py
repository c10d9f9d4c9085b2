"""What a keyword of the search box may mean; docs/domain.md, "Searching purchases"."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.purchases.search_terms import (
    LONGEST_TERM,
    Key,
    KeyKind,
    Keyword,
    Meaning,
    Prefix,
    ReferenceNumberIs,
    fold,
    keys_of,
    parse_keywords,
)
from shared.contracts.purchases import Contact
from shared.contracts.refusals import Refused


def meanings(text: str) -> tuple[Meaning, ...]:
    (keyword,) = parse_keywords(text)
    return keyword.meanings


def test_a_word_is_an_order_number_or_the_beginning_of_a_name() -> None:
    assert meanings("Müller") == (
        Key(KeyKind.CLIENT_ORDER_ID, "muller"),
        Prefix(KeyKind.LAST_NAME, "muller"),
        Prefix(KeyKind.COMPANY, "muller"),
    )


def test_nine_digits_may_be_a_reference_number() -> None:
    assert meanings("123456789")[0] == ReferenceNumberIs("123456789")
    assert ReferenceNumberIs("023456789") not in meanings("023456789")


def test_four_digits_may_be_a_card_or_the_beginning_of_a_company() -> None:
    found = meanings("1111")
    assert found[0] == Key(KeyKind.CARD_LAST4, "1111")
    assert Prefix(KeyKind.COMPANY, "1111") in found


def test_digits_of_another_script_are_no_card() -> None:
    assert Key(KeyKind.CARD_LAST4, "١١١١") not in meanings("١١١١")


def test_an_address_is_an_address() -> None:
    assert meanings("Ada@Example.COM") == (Key(KeyKind.EMAIL, "ada@example.com"),)


def test_a_domain_finds_itself_and_all_below_it() -> None:
    assert meanings("@Example.com") == (
        Key(KeyKind.EMAIL_DOMAIN, "com.example"),
        Prefix(KeyKind.EMAIL_DOMAIN, "com.example."),
    )


def test_keywords_are_separated_by_commas_and_counted_once() -> None:
    assert len(parse_keywords(" Smith , @example.com,, Smith ")) == 2


@pytest.mark.parametrize("box", [",", " , ,", "@", "@.", ". , @"])
def test_a_box_without_a_keyword_is_refused(box: str) -> None:
    with pytest.raises(Refused, match="no_keywords"):
        parse_keywords(box)


def test_too_many_keywords_are_refused() -> None:
    assert len(parse_keywords(",".join(f"k{number}" for number in range(10)))) == 10
    with pytest.raises(Refused, match="too_many_keywords"):
        parse_keywords(",".join(f"k{number}" for number in range(11)))


def test_the_most_selective_keyword_drives() -> None:
    box = "@gmail.com, 1111, smith, ada@example.com, 123456789"
    ranked = sorted(parse_keywords(box), key=lambda keyword: keyword.selectivity)
    assert [keyword.meanings[0] for keyword in ranked] == [
        Key(KeyKind.EMAIL_DOMAIN, "com.gmail"),
        Key(KeyKind.CARD_LAST4, "1111"),
        Key(KeyKind.CLIENT_ORDER_ID, "smith"),
        Key(KeyKind.EMAIL, "ada@example.com"),
        ReferenceNumberIs("123456789"),
    ]


def test_every_contact_is_found_by_all_its_terms() -> None:
    keys = keys_of(
        [
            Contact(country="DE", last_name="Straße", email="ada@example.com"),
            Contact(country="DE", company="ACME  GmbH", email="office@mail.acme.com"),
        ],
        "Order-7",
        "4242",
    )
    assert keys == {
        Key(KeyKind.CLIENT_ORDER_ID, "order-7"),
        Key(KeyKind.CARD_LAST4, "4242"),
        Key(KeyKind.LAST_NAME, "strasse"),
        Key(KeyKind.COMPANY, "acme gmbh"),
        Key(KeyKind.EMAIL, "ada@example.com"),
        Key(KeyKind.EMAIL, "office@mail.acme.com"),
        Key(KeyKind.EMAIL_DOMAIN, "com.example"),
        Key(KeyKind.EMAIL_DOMAIN, "com.acme.mail"),
    }


@given(st.text(max_size=400))
def test_folding_is_stable_short_and_blind_to_case(text: str) -> None:
    folded = fold(text)
    assert len(folded) <= LONGEST_TERM
    assert fold(folded) == folded


@given(st.text(min_size=1, max_size=100))
def test_any_text_is_either_keywords_or_refused(text: str) -> None:
    assert parsed(text) in {"keywords", "no_keywords", "too_many_keywords"}


def parsed(text: str) -> str:
    try:
        keywords = parse_keywords(text)
    except Refused as refusal:
        return refusal.code
    assert all(isinstance(keyword, Keyword) and keyword.meanings for keyword in keywords)
    assert all(1 <= keyword.selectivity <= 5 for keyword in keywords)
    return "keywords"
