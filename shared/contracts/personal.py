"""Which fields of messages are about a person, and what becomes of them when the person is to be forgotten.

One list for every service, so that none forgets a field. Rule: docs/domain.md, "Removing personal data".
"""

from typing import Any, Final

REMOVED: Final = "XXX"
REMOVED_EMAIL: Final = "anonymized@example.com"
"""A reserved domain that takes no mail."""
REMOVED_PHONE: Final = "000"

_OF_PERSONS: Final[dict[str, str | None]] = {
    "card_last4": None,
    "city": REMOVED,
    "company": REMOVED,
    "customer_reference": None,
    "email": REMOVED_EMAIL,
    "fax": REMOVED_PHONE,
    "first_name": REMOVED,
    "html": REMOVED,
    "last_name": REMOVED,
    "note": REMOVED,
    "phone": REMOVED_PHONE,
    "phone2": REMOVED_PHONE,
    "postal_code": REMOVED,
    "remark": REMOVED,
    "salutation": None,
    "street1": REMOVED,
    "street2": REMOVED,
    "text": REMOVED,
    "to": REMOVED_EMAIL,
    "vat_id": REMOVED,
}
_OF_CONTACTS: Final[dict[str, str | None]] = {"state": REMOVED, "title": REMOVED}
"""Names that mean something else outside a contact, such as the state of a mail."""
_OF_MAILS: Final[dict[str, str | None]] = {"subject": REMOVED}
_MARKS_OF_A_CONTACT: Final = frozenset({"company", "email", "first_name", "last_name", "postal_code", "street1"})
PERSONAL_FIELDS: Final = frozenset(_OF_PERSONS)


def anonymized(value: Any) -> Any:
    """A JSON value of a message without personal data. What was empty stays empty; country and language stay."""
    if isinstance(value, list | tuple):
        return [anonymized(part) for part in value]
    if isinstance(value, dict):
        replacements = _OF_PERSONS | (_OF_CONTACTS if _MARKS_OF_A_CONTACT & value.keys() else {})
        replacements |= _OF_MAILS if "email_id" in value else {}
        return {
            name: replacements[name] if name in replacements and part is not None else anonymized(part)
            for name, part in value.items()
        }
    return value
