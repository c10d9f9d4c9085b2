"""An address is found whole, by its domain and by every domain above it."""

import pytest

from shared.search.addresses import Addresses
from shared.search.folding import folded
from shared.search.keywords import Key, Prefix

ADDRESSES = Addresses("email", "domain", folded)


def test_an_address_has_two_terms() -> None:
    assert ADDRESSES.keys("Jo@Mail.Example.com") == (
        Key("email", "jo@mail.example.com"),
        Key("domain", "com.example.mail"),
    )


def test_an_address_is_an_address() -> None:
    assert ADDRESSES.meanings("Ada@Example.COM") == (Key("email", "ada@example.com"),)


@pytest.mark.parametrize("text", ["@Example.com", "@example.com.", "@.example.com", "@ example.com"])
def test_a_domain_is_itself_and_all_below_it(text: str) -> None:
    assert ADDRESSES.meanings(text) == (Key("domain", "com.example"), Prefix("domain", "com.example."))


@pytest.mark.parametrize(
    ("domain", "found"), [("@example.com", True), ("@mail.example.com", True), ("@ample.com", False), ("@com", True)]
)
def test_a_domain_finds_all_below_it(domain: str, found: bool) -> None:
    _, term = ADDRESSES.keys("jo@mail.example.com")
    whole, below = ADDRESSES.meanings(domain)
    assert (term.term == whole.term or term.term.startswith(below.term)) is found
