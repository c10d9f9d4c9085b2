"""What a contact needs in its roles, and what may be changed about the contacts of a customer. Pure.

Rules: docs/domain.md, "Contacts of a customer".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.customers.customer.rules import CustomerState, check_changeable
from shared.contracts.customers import STATE_REQUIRED, CustomerKind
from shared.contracts.purchases import ContactRole
from shared.contracts.refusals import Refused
from shared.contracts.values import FieldError

ContactFields = Mapping[str, Any]
"""The fields of a contact that are not empty."""
_POSTAL_ADDRESS: Final = ("street1", "postal_code", "city", "country")
_ROLES: Final = len(ContactRole)


@dataclass(frozen=True)
class ContactSet:
    """One set of contact data with every role that has it."""

    fields: ContactFields
    roles: frozenset[ContactRole]


def kind_of(contact: ContactFields) -> CustomerKind:
    """Who has no last name but a company is an organisation."""
    return CustomerKind.PERSON if contact.get("last_name") else CustomerKind.ORGANISATION


def share_contacts(by_role: Mapping[ContactRole, ContactFields]) -> tuple[ContactSet, ...]:
    """The contacts of a new customer: one shared set for all roles whose data are equal."""
    sets: list[ContactFields] = []
    for fields in by_role.values():
        if fields not in sets:
            sets.append(fields)
    return tuple(ContactSet(fields, frozenset(role for role in by_role if by_role[role] == fields)) for fields in sets)


def check_complete(roles: Sequence[ContactRole], contact: ContactFields) -> None:
    """Raises Refused `contact_incomplete`, with every field that one of the roles lacks."""
    missing = sorted({(name, role) for role in roles for name in missing_fields(role, contact)})
    if missing:
        errors = tuple(
            FieldError(path=f"contact.{name}", message=f"is required of a {role.value} contact")
            for name, role in missing
        )
        raise Refused("contact_incomplete", "The contact lacks what its role needs.", errors=errors)


def missing_fields(role: ContactRole, contact: ContactFields) -> tuple[str, ...]:
    """Compulsory fields that a contact lacks in a role."""
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


def check_add_contact(customer: CustomerState) -> None:
    """Raises Refused `customer_anonymized`, `customer_is_alias`, `no_role_shares_contact`."""
    check_changeable(customer)
    if customer.contacts == _ROLES:
        raise Refused("no_role_shares_contact", "Delivery and licensee have contacts of their own already.")


def check_merge_contacts(customer: CustomerState) -> None:
    """Raises Refused `customer_anonymized`, `customer_is_alias`, `contacts_already_shared`."""
    check_changeable(customer)
    if customer.contacts == 1:
        raise Refused("contacts_already_shared", "All roles share one contact already.")
