"""The terms under which a customer is found, and what a keyword of the search box may mean. Pure.

Rules: docs/domain.md, "Searching customers".
"""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from services.customers.contact.rules import ContactFields
from services.customers.identity.rules import fold, fold_email, likeness_of
from shared.contracts.values import CARD_LAST4_FORM, REFERENCE_NUMBER_FORM
from shared.search.addresses import Addresses
from shared.search.keywords import Key, KeywordRules, Prefix

_REFERENCE_NUMBER: Final = re.compile(REFERENCE_NUMBER_FORM)
_CARD_LAST4: Final = re.compile(CARD_LAST4_FORM)


class KeyKind(StrEnum):
    """What a search term of a customer is."""

    CARD_LAST4 = "card_last4"
    COMPANY = "company"
    EMAIL = "email"
    EMAIL_DOMAIN = "email_domain"
    LAST_NAME = "last_name"
    LIKENESS = "likeness"
    """Name and place together. No keyword means it; duplicates are found by it."""
    REFERENCE_NUMBER = "reference_number"


OF_CONTACTS: Final = frozenset(
    {KeyKind.COMPANY, KeyKind.EMAIL, KeyKind.EMAIL_DOMAIN, KeyKind.LAST_NAME, KeyKind.LIKENESS}
)
"""Terms that change with the contacts; the others come from purchases."""
_ADDRESSES: Final = Addresses(KeyKind.EMAIL, KeyKind.EMAIL_DOMAIN, fold_email)


def keys_of(contacts: Iterable[ContactFields]) -> frozenset[Key]:
    """Every term under which a customer is found by any of its contacts."""
    return frozenset(key for contact in contacts for key in _keys_of(contact) if key.term)


def _keys_of(contact: ContactFields) -> Iterator[Key]:
    if email := contact.get("email"):
        yield from _ADDRESSES.keys(email)
    if last_name := contact.get("last_name"):
        yield Key(KeyKind.LAST_NAME, fold(last_name))
    if company := contact.get("company"):
        yield Key(KeyKind.COMPANY, fold(company))
    if likeness := likeness_of(contact):
        yield Key(KeyKind.LIKENESS, likeness)


def keys_of_purchase(reference_number: str, card_last4: str | None) -> frozenset[Key]:
    """The terms under which a customer is found by one of its purchases."""
    keys = {Key(KeyKind.REFERENCE_NUMBER, reference_number)}
    return frozenset(keys | ({Key(KeyKind.CARD_LAST4, card_last4)} if card_last4 else set()))


def _meanings(text: str) -> Iterator[Key]:
    if "@" in text:
        yield from _ADDRESSES.meanings(text)
        return
    if _REFERENCE_NUMBER.fullmatch(text):
        yield Key(KeyKind.REFERENCE_NUMBER, text)
    if _CARD_LAST4.fullmatch(text):
        yield Key(KeyKind.CARD_LAST4, text)
    yield Prefix(KeyKind.LAST_NAME, fold(text))
    yield Prefix(KeyKind.COMPANY, fold(text))


RULES: Final = KeywordRules(
    fold=fold,
    meanings=_meanings,
    common=(KeyKind.EMAIL_DOMAIN, KeyKind.COMPANY, KeyKind.LAST_NAME, KeyKind.CARD_LAST4, KeyKind.EMAIL),
    unique=frozenset({KeyKind.REFERENCE_NUMBER}),
)
