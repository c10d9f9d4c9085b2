"""What people type into the search box, and the terms under which a purchase is found. Pure.

Rules: docs/domain.md, "Searching purchases".
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from shared.contracts.purchases import Contact
from shared.contracts.refusals import Refused as NotAllowed
from shared.search.folding import folded

_REFERENCE_NUMBER: Final = re.compile(r"[1-9][0-9]{8}")
_CARD_LAST4: Final = re.compile(r"[0-9]{4}")
MOST_KEYWORDS: Final = 10
LONGEST_TERM: Final = 255
"""An index entry has room for it in any script."""


class KeyKind(StrEnum):
    """What a search term of a purchase is. The reference number is a column of its own."""

    CARD_LAST4 = "card_last4"
    CLIENT_ORDER_ID = "client_order_id"
    COMPANY = "company"
    EMAIL = "email"
    EMAIL_DOMAIN = "email_domain"
    LAST_NAME = "last_name"


@dataclass(frozen=True)
class Key:
    """A term of a kind: what a purchase has, and what a keyword may mean."""

    kind: KeyKind
    term: str

    @property
    def form(self) -> Self:
        """What is the same for all terms."""
        return replace(self, term="")


@dataclass(frozen=True)
class Prefix(Key):
    """A keyword that is the beginning of a term."""


@dataclass(frozen=True)
class ReferenceNumberIs:
    number: str

    @property
    def form(self) -> Self:
        """What is the same for all numbers."""
        return replace(self, number="")


Meaning = Key | Prefix | ReferenceNumberIs


@dataclass(frozen=True)
class Keyword:
    """One keyword with all it may mean."""

    meanings: tuple[Meaning, ...]

    @property
    def form(self) -> "Keyword":
        """The keyword without its words: what it looks at, whatever it looks for."""
        return Keyword(tuple(meaning.form for meaning in self.meanings))

    @property
    def selectivity(self) -> int:
        """How few purchases it finds, roughly; the highest drives the search."""
        kinds = {KeyKind.EMAIL: 4, KeyKind.LAST_NAME: 3, KeyKind.CARD_LAST4: 2, KeyKind.EMAIL_DOMAIN: 1}
        if any(isinstance(meaning, ReferenceNumberIs) for meaning in self.meanings):
            return 5
        return min(kinds.get(meaning.kind, 5) for meaning in self.meanings if isinstance(meaning, Key))


def fold(text: str) -> str:
    """The form in which terms are compared: case, accents, width and runs of blanks make no difference."""
    return folded(text)[:LONGEST_TERM]


def reversed_domain(domain: str) -> str:
    """`mail.example.com` as `com.example.mail`, so that a domain and all below it are neighbours."""
    return ".".join(reversed(fold(domain).strip(".").split(".")))


def keys_of(contacts: Iterable[Contact], client_order_id: str, card_last4: str | None) -> frozenset[Key]:
    """Every term under which a purchase is found, from any of its contacts."""
    keys = {Key(KeyKind.CLIENT_ORDER_ID, fold(client_order_id))}
    if card_last4 is not None:
        keys.add(Key(KeyKind.CARD_LAST4, card_last4))
    for contact in contacts:
        keys.add(Key(KeyKind.EMAIL, fold(contact.email)))
        keys.add(Key(KeyKind.EMAIL_DOMAIN, reversed_domain(contact.email.rpartition("@")[2])))
        if contact.last_name is not None:
            keys.add(Key(KeyKind.LAST_NAME, fold(contact.last_name)))
        if contact.company is not None:
            keys.add(Key(KeyKind.COMPANY, fold(contact.company)))
    return frozenset(key for key in keys if key.term)


def parse_keywords(box: str) -> tuple[Keyword, ...]:
    """The comma-separated keywords of the box; all of them must match, each by any of its meanings.

    Raises NotAllowed `no_keywords`, `too_many_keywords`.
    """
    texts = dict.fromkeys(text.strip() for text in box.split(",") if fold(text).strip("@. "))
    if not texts:
        raise NotAllowed("no_keywords", "Give at least one keyword.")
    if len(texts) > MOST_KEYWORDS:
        raise NotAllowed("too_many_keywords", "Give fewer keywords.", most=MOST_KEYWORDS)
    return tuple(Keyword(tuple(_meanings(text))) for text in texts)


def _meanings(text: str) -> Iterator[Meaning]:
    if text.startswith("@"):
        domain = reversed_domain(text[1:])
        yield Key(KeyKind.EMAIL_DOMAIN, domain)
        yield Prefix(KeyKind.EMAIL_DOMAIN, f"{domain}.")
        return
    term = fold(text)
    if "@" in text:
        yield Key(KeyKind.EMAIL, term)
        return
    if _REFERENCE_NUMBER.fullmatch(text):
        yield ReferenceNumberIs(text)
    if _CARD_LAST4.fullmatch(text):
        yield Key(KeyKind.CARD_LAST4, text)
    yield Key(KeyKind.CLIENT_ORDER_ID, term)
    yield Prefix(KeyKind.LAST_NAME, term)
    yield Prefix(KeyKind.COMPANY, term)
