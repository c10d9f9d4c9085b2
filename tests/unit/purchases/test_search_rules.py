"""What a keyword of the search box may mean; docs/domain.md, "Searching purchases"."""

from hypothesis import given
from hypothesis import strategies as st

from services.purchases.search_rules import LONGEST_TERM, REFERENCE_NUMBER, RULES, KeyKind, fold, keys_of
from shared.contracts.purchases import Contact
from shared.search.keywords import Column, Key, Prefix, parse_keywords


def meanings(text: str) -> tuple[Key, ...]:
    (keyword,) = parse_keywords(text, RULES)
    return keyword.meanings


def test_a_word_is_an_order_number_or_the_beginning_of_a_name() -> None:
    assert meanings("Müller") == (
        Key(KeyKind.CLIENT_ORDER_ID, "muller"),
        Prefix(KeyKind.LAST_NAME, "muller"),
        Prefix(KeyKind.COMPANY, "muller"),
    )


def test_nine_digits_may_be_a_reference_number() -> None:
    assert meanings("123456789")[0] == Column(REFERENCE_NUMBER, "123456789")
    assert Column(REFERENCE_NUMBER, "023456789") not in meanings("023456789")


def test_four_digits_may_be_a_card_or_the_beginning_of_a_company() -> None:
    found = meanings("1111")
    assert found[0] == Key(KeyKind.CARD_LAST4, "1111")
    assert Prefix(KeyKind.COMPANY, "1111") in found


def test_digits_of_another_script_are_no_card() -> None:
    assert Key(KeyKind.CARD_LAST4, "١١١١") not in meanings("١١١١")


def test_the_most_selective_keyword_drives() -> None:
    box = "@gmail.com, 1111, smith, ada@example.com, 123456789"
    ranked = sorted(parse_keywords(box, RULES), key=lambda keyword: keyword.selectivity)
    assert [keyword.meanings[0] for keyword in ranked] == [
        Key(KeyKind.EMAIL_DOMAIN, "com.gmail"),
        Key(KeyKind.CARD_LAST4, "1111"),
        Key(KeyKind.CLIENT_ORDER_ID, "smith"),
        Key(KeyKind.EMAIL, "ada@example.com"),
        Column(REFERENCE_NUMBER, "123456789"),
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
    # Where a term was cut, a blank may be its last character.
    assert fold(folded) == folded.rstrip()
