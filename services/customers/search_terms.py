"""What people type into the search box, and the terms under which a customer is found. Pure.

Rules: docs/domain.md, "Searching customers".
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from services.customers.contact.rules import ContactFields
from services.customers.identity.rules import fold, fold_email, likeness_of

_REFERENCE_NUMBER: Final = re.compile(r"[1-9][0-9]{8}")
_CARD_LAST4: Final = re.compile(r"[0-9]{4}")
MOST_KEYWORDS: Final = 10


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


@dataclass(frozen=True, order=True)
class Key:
    """A term of a kind: what a customer has, and what a keyword may mean."""

    kind: KeyKind
    term: str

    @property
    def form(self) -> Self:
        """What is the same for all terms."""
        return replace(self, term="")


@dataclass(frozen=True, order=True)
class Prefix(Key):
    """A keyword that is the beginning of a term."""


@dataclass(frozen=True)
class Keyword:
    """One keyword with all it may mean."""

    meanings: tuple[Key, ...]

    @property
    def form(self) -> "Keyword":
        """The keyword without its words: what it looks at, whatever it looks for."""
        return Keyword(tuple(meaning.form for meaning in self.meanings))

    @property
    def selectivity(self) -> int:
        """How few customers it finds, roughly; the highest drives the search."""
        order = (
            KeyKind.EMAIL_DOMAIN,
            KeyKind.COMPANY,
            KeyKind.LAST_NAME,
            KeyKind.CARD_LAST4,
            KeyKind.EMAIL,
            KeyKind.REFERENCE_NUMBER,
        )
        if self.meanings[0].kind is KeyKind.REFERENCE_NUMBER:
            return len(order)
        return min(order.index(meaning.kind) for meaning in self.meanings)


class NoKeywords(ValueError):
    """The box holds nothing to look for."""


class TooManyKeywords(ValueError):
    """The box holds more than anybody means."""


def reversed_domain(domain: str) -> str:
    """`mail.example.com` as `com.example.mail`, so that a domain and all below it are neighbours."""
    return ".".join(reversed(fold_email(domain).strip(". ").split(".")))


def keys_of(contacts: Iterable[ContactFields]) -> frozenset[Key]:
    """Every term under which a customer is found by any of its contacts."""
    return frozenset(key for contact in contacts for key in _keys_of(contact) if key.term)


def _keys_of(contact: ContactFields) -> Iterator[Key]:
    if email := contact.get("email"):
        yield Key(KeyKind.EMAIL, fold_email(email))
        yield Key(KeyKind.EMAIL_DOMAIN, reversed_domain(email.rpartition("@")[2]))
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


def parse_keywords(box: str) -> tuple[Keyword, ...]:
    """The comma-separated keywords of the box; all of them must match, each by any of its meanings.

    Raises NoKeywords, TooManyKeywords.
    """
    words = (word.strip() for word in box.replace("\x00", " ").split(","))
    texts = dict.fromkeys(word for word in words if fold(word).strip("@. "))
    if not texts:
        raise NoKeywords
    if len(texts) > MOST_KEYWORDS:
        raise TooManyKeywords
    return tuple(Keyword(tuple(_meanings(text))) for text in texts)


def _meanings(text: str) -> Iterator[Key]:
    if text.startswith("@"):
        domain = reversed_domain(text[1:])
        yield Key(KeyKind.EMAIL_DOMAIN, domain)
        yield Prefix(KeyKind.EMAIL_DOMAIN, f"{domain}.")
        return
    if "@" in text:
        yield Key(KeyKind.EMAIL, fold_email(text))
        return
    if _REFERENCE_NUMBER.fullmatch(text):
        yield Key(KeyKind.REFERENCE_NUMBER, text)
    if _CARD_LAST4.fullmatch(text):
        yield Key(KeyKind.CARD_LAST4, text)
    yield Prefix(KeyKind.LAST_NAME, fold(text))
    yield Prefix(KeyKind.COMPANY, fold(text))
