"""What a customer is known by, and the forms in which names and addresses are compared. Pure.

Rules: docs/domain.md, "Customers".
"""

import unicodedata
from hashlib import blake2b
from typing import Final

from services.customers.contact.rules import ContactFields
from shared.search.folding import folded

LONGEST_TERM: Final = 340
"""Bytes; an index entry and the cursor of a page have room for it."""


def fold(text: str) -> str:
    """The form in which names are compared: case, accents, width and runs of blanks make no difference."""
    return _cut(folded(text))


def fold_email(address: str) -> str:
    """The form in which addresses are compared. Accents stay: they make another mailbox."""
    return _cut(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", address).casefold()))


def _cut(term: str) -> str:
    return term.encode()[:LONGEST_TERM].decode(errors="ignore")


def identity_of(contact: ContactFields) -> str | None:
    """What tells that a purchase comes from a known customer: the e-mail with the last name, or with the company."""
    name = contact.get("last_name") or contact.get("company")
    return f"{fold_email(contact['email'])} {fold(name)}" if name and contact.get("email") else None


def likeness_of(contact: ContactFields) -> str | None:
    """What suggests that two records are the same customer: the same full name at the same place."""
    name, place = contact.get("last_name") or contact.get("company"), contact.get("postal_code")
    if not name or not place:
        return None
    words = (str(contact.get("country", "")), fold(place), fold(name), fold(contact.get("first_name") or ""))
    return " ".join(words).strip()


def digest(client_id: str, known_as: str) -> bytes:
    """What is kept of an identity or a reference when the customer is anonymized: enough to recognize late messages."""
    return blake2b(known_as.encode(), key=client_id.encode()[:64], digest_size=32).digest()
