"""Rules of customers: who is the same customer, what a contact needs, what may be done and why not.

Pure: no database, no broker. Rules: docs/domain.md, "Customers".
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

from shared.contracts.customers import STATE_REQUIRED, CustomerKind
from shared.contracts.purchases import ContactRole
from shared.contracts.values import AllowedAction
from shared.search.folding import folded

ContactFields = Mapping[str, Any]
"""The fields of a contact that are not empty."""

_POSTAL_ADDRESS: Final = ("street1", "postal_code", "city", "country")
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


def kind_of(contact: ContactFields) -> CustomerKind:
    """Who has no last name but a company is an organisation."""
    return CustomerKind.PERSON if contact.get("last_name") else CustomerKind.ORGANISATION


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


def missing_fields(role: ContactRole, contact: ContactFields) -> tuple[str, ...]:
    """Compulsory fields that a contact lacks in a role; `docs/domain.md`, "Contacts of a customer"."""
    return tuple(_missing(role, contact))


def _missing(role: ContactRole, contact: ContactFields) -> Iterator[str]:
    if not contact.get("last_name") and not contact.get("company"):
        yield "last_name"
    if role is ContactRole.BILLING:
        yield from (name for name in ("email", "country") if not contact.get(name))
        if contact.get("country") in STATE_REQUIRED and not contact.get("state"):
            yield "state"
    if role is ContactRole.DELIVERY and not contact.get("email"):
        lacking = [name for name in _POSTAL_ADDRESS if not contact.get(name)]
        if len(lacking) == len(_POSTAL_ADDRESS):
            yield "email"
        else:
            yield from lacking


class Action(StrEnum):
    """What may be wanted of a customer."""

    UPDATE_CONTACT = "contact.update"
    ADD_CONTACT = "contact.add"
    MERGE_CONTACTS = "contacts.merge"
    MERGE = "customer.merge"
    UNMERGE = "customer.unmerge"
    ANONYMIZE = "customer.anonymize"


@dataclass(frozen=True)
class Standing:
    """What the rules want to know of a customer."""

    customer_id: UUID
    client_id: str
    merged_into: UUID | None
    anonymized: bool
    open_refunds: int
    """Of all its purchases, those of its aliases among them."""
    contacts: int
    """How many different contacts its three roles have."""


@dataclass(frozen=True)
class Obstacle:
    """Why something is refused: a stable code, and the words for people."""

    code: str
    words: str


_ANONYMIZED: Final = Obstacle("customer_anonymized", "The personal data of this customer have been removed.")
_IS_ALIAS: Final = Obstacle("customer_is_alias", "The record was merged into another customer; change that one.")
_REFUND_OPEN: Final = Obstacle("refund_open", "A refund of this customer is on its way; wait for its end.")
_NO_ALIAS: Final = Obstacle("customer_not_merged", "The record was not merged into another customer.")
_ALL_SEPARATE: Final = Obstacle("no_role_shares_contact", "Delivery and licensee have contacts of their own already.")
_ALL_SHARED: Final = Obstacle("contacts_already_shared", "All roles share one contact already.")
_ROLES: Final = len(ContactRole)


def obstacle(action: Action, standing: Standing) -> Obstacle | None:
    """Why an action would be refused now; None where it is allowed. The commands ask this too."""
    if standing.anonymized:
        return _ANONYMIZED
    if action is Action.UNMERGE:
        return None if standing.merged_into is not None else _NO_ALIAS
    if standing.merged_into is not None:
        return _IS_ALIAS
    if action in (Action.MERGE, Action.ANONYMIZE) and standing.open_refunds:
        return _REFUND_OPEN
    if action is Action.ADD_CONTACT and standing.contacts == _ROLES:
        return _ALL_SEPARATE
    if action is Action.MERGE_CONTACTS and standing.contacts == 1:
        return _ALL_SHARED
    return None


def merge_obstacle(survivor: Standing, merged: Standing) -> Obstacle | None:
    """Why two customers cannot be merged; docs/domain.md, "Merging customers"."""
    if survivor.customer_id == merged.customer_id:
        return Obstacle("same_customer", "A customer cannot be merged with itself.")
    if survivor.client_id != merged.client_id:
        return Obstacle("different_clients", "Customers of different clients are different customers.")
    if survivor.merged_into == merged.customer_id:
        return Obstacle("merge_cycle", "The survivor is an alias of the record that would be merged into it.")
    return obstacle(Action.MERGE, survivor) or obstacle(Action.MERGE, merged)


def allowed(action: Action, no: Obstacle | None) -> AllowedAction:
    """An action for the profile."""
    if no is None:
        return AllowedAction(name=action.value, allowed=True)
    return AllowedAction(name=action.value, allowed=False, code=no.code, why_not=no.words)


def actions(standing: Standing, names: Iterable[Action]) -> tuple[AllowedAction, ...]:
    """The actions, each with the reason why it would be refused."""
    return tuple(allowed(action, obstacle(action, standing)) for action in names)


_TELL_OF_NOBODY: Final = frozenset({"attempt", "email_id", "email_type"})


def kept_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What of an announcement may stay when the customer is anonymized."""
    return {name: fact for name, fact in facts.items() if name in _TELL_OF_NOBODY}
