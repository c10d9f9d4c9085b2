"""The terms under which a purchase is found, and what a keyword of the search box may mean. Pure.

Rules: docs/domain.md, "Searching purchases".
"""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from shared.contracts.purchases import Contact
from shared.contracts.values import CARD_LAST4_FORM, REFERENCE_NUMBER_FORM
from shared.search.addresses import Addresses
from shared.search.folding import folded
from shared.search.keywords import Column, Key, KeywordRules, Prefix

REFERENCE_NUMBER: Final = "reference_number"
"""A column of the purchase itself, no term."""
LONGEST_TERM: Final = 255
"""An index entry has room for it in any script."""
_REFERENCE_NUMBER: Final = re.compile(REFERENCE_NUMBER_FORM)
_CARD_LAST4: Final = re.compile(CARD_LAST4_FORM)


class KeyKind(StrEnum):
    """What a search term of a purchase is. The reference number is a column of its own."""

    CARD_LAST4 = "card_last4"
    CLIENT_ORDER_ID = "client_order_id"
    COMPANY = "company"
    EMAIL = "email"
    EMAIL_DOMAIN = "email_domain"
    LAST_NAME = "last_name"


def fold(text: str) -> str:
    """The form in which terms are compared: case, accents, width and runs of blanks make no difference."""
    return folded(text)[:LONGEST_TERM]


ADDRESSES: Final = Addresses(KeyKind.EMAIL, KeyKind.EMAIL_DOMAIN, fold)


def keys_of(contacts: Iterable[Contact], client_order_id: str, card_last4: str | None) -> frozenset[Key]:
    """Every term under which a purchase is found, from any of its contacts."""
    keys = {Key(KeyKind.CLIENT_ORDER_ID, fold(client_order_id))}
    if card_last4 is not None:
        keys.add(Key(KeyKind.CARD_LAST4, card_last4))
    for contact in contacts:
        keys.update(ADDRESSES.keys(contact.email))
        if contact.last_name is not None:
            keys.add(Key(KeyKind.LAST_NAME, fold(contact.last_name)))
        if contact.company is not None:
            keys.add(Key(KeyKind.COMPANY, fold(contact.company)))
    return frozenset(key for key in keys if key.term)


def _meanings(text: str) -> Iterator[Key]:
    if "@" in text:
        yield from ADDRESSES.meanings(text)
        return
    if _REFERENCE_NUMBER.fullmatch(text):
        yield Column(REFERENCE_NUMBER, text)
    if _CARD_LAST4.fullmatch(text):
        yield Key(KeyKind.CARD_LAST4, text)
    term = fold(text)
    yield Key(KeyKind.CLIENT_ORDER_ID, term)
    yield Prefix(KeyKind.LAST_NAME, term)
    yield Prefix(KeyKind.COMPANY, term)


RULES: Final = KeywordRules(
    fold=fold,
    meanings=_meanings,
    common=(KeyKind.EMAIL_DOMAIN, KeyKind.CARD_LAST4, KeyKind.LAST_NAME, KeyKind.EMAIL),
    unique=frozenset({REFERENCE_NUMBER}),
)
