"""Who is the same customer, what may be done, and what stays when somebody is to be forgotten."""

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.customers.contact.rules import ContactSet, missing_fields, share_contacts
from services.customers.customer.rules import CustomerState
from services.customers.customer.view import ALIAS_CHECKS, CUSTOMER_CHECKS
from services.customers.identity.rules import digest, identity_of, likeness_of
from services.customers.merge.rules import check_merge
from shared.contracts.customers import ContactDetails
from shared.contracts.message import Command, Message
from shared.contracts.personal import PERSONAL_FIELDS, REMOVED, REMOVED_EMAIL, anonymized
from shared.contracts.purchases import ContactRole
from shared.contracts.refusals import Refused

CHECKS = {**CUSTOMER_CHECKS, **ALIAS_CHECKS}
ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


def state(
    customer_id: UUID = ONE,
    *,
    client_id: str = "acme",
    merged_into: UUID | None = None,
    anonymized: bool = False,
    open_refunds: int = 0,
    contacts: int = 2,
) -> CustomerState:
    return CustomerState(customer_id, client_id, merged_into, anonymized, open_refunds, contacts)


def code(check: Callable[..., None], *customers: CustomerState) -> str | None:
    """The code of the refusal, if there is one."""
    try:
        check(*customers)
    except Refused as refusal:
        return refusal.code
    return None


@pytest.mark.parametrize("action", CHECKS)
def test_nothing_may_be_done_with_who_was_forgotten(action: str) -> None:
    check = CHECKS[action]
    assert code(check, state(anonymized=True, merged_into=TWO)) == "customer_anonymized"


@pytest.mark.parametrize("action", CUSTOMER_CHECKS)
def test_an_alias_is_changed_at_its_customer(action: str) -> None:
    assert code(CUSTOMER_CHECKS[action], state(merged_into=TWO)) == "customer_is_alias"
    assert code(ALIAS_CHECKS["customer.unmerge"], state(merged_into=TWO)) is None


@pytest.mark.parametrize(
    ("action", "customer", "expected"),
    [
        ("contact.add", state(contacts=3), "no_role_shares_contact"),
        ("contacts.merge", state(contacts=1), "contacts_already_shared"),
        ("customer.merge", state(open_refunds=1), "refund_open"),
        ("customer.anonymize", state(open_refunds=1), "refund_open"),
        ("customer.unmerge", state(), "customer_not_merged"),
        ("contact.update", state(open_refunds=1, contacts=1), None),
        ("contact.add", state(open_refunds=1, contacts=2), None),
        ("contacts.merge", state(open_refunds=1, contacts=2), None),
        ("customer.merge", state(), None),
        ("customer.anonymize", state(), None),
    ],
)
def test_each_action_has_its_rule(action: str, customer: CustomerState, expected: str | None) -> None:
    assert code(CHECKS[action], customer) == expected


@pytest.mark.parametrize(
    ("survivor", "merged", "expected"),
    [
        (state(), state(), "same_customer"),
        (state(), state(TWO, client_id="other"), "different_clients"),
        (state(merged_into=TWO), state(TWO), "merge_cycle"),
        (state(merged_into=THREE), state(TWO), "customer_is_alias"),
        (state(), state(TWO, merged_into=THREE), "customer_is_alias"),
        (state(open_refunds=1), state(TWO), "refund_open"),
        (state(), state(TWO, open_refunds=1), "refund_open"),
        (state(anonymized=True), state(TWO), "customer_anonymized"),
        (state(), state(TWO, anonymized=True), "customer_anonymized"),
        (state(), state(TWO), None),
    ],
)
def test_what_cannot_be_merged(survivor: CustomerState, merged: CustomerState, expected: str | None) -> None:
    assert code(check_merge, survivor, merged) == expected


def test_roles_with_the_same_data_share_a_contact() -> None:
    ada, byron = {"last_name": "Lovelace"}, {"last_name": "Byron"}
    billing, delivery, licensee = ContactRole
    assert share_contacts({billing: ada, delivery: byron, licensee: dict(ada)}) == (
        ContactSet(ada, frozenset({billing, licensee})),
        ContactSet(byron, frozenset({delivery})),
    )


def test_two_references_never_share_a_digest_across_clients() -> None:
    assert digest("acme", "C-1") == digest("acme", "C-1")
    assert len({digest("acme", "C-1"), digest("acme", "C-2"), digest("other", "C-1")}) == 3


def test_without_name_or_address_there_is_no_identity() -> None:
    assert identity_of({"email": "ada@example.com"}) is None
    assert identity_of({"last_name": "Lovelace"}) is None
    assert likeness_of({"last_name": "Lovelace"}) is None
    assert likeness_of({"last_name": "Lovelace", "postal_code": "W1", "country": "GB"}) == "GB w1 lovelace"


def test_the_licensee_needs_a_name_only() -> None:
    assert missing_fields(ContactRole.LICENSEE, {"company": "Acme"}) == ()
    assert missing_fields(ContactRole.DELIVERY, {"last_name": "L", "email": "a@example.com"}) == ()
    address = {"street1": "1", "postal_code": "2", "city": "3", "country": "DE"}
    assert missing_fields(ContactRole.DELIVERY, {"last_name": "L"} | address) == ()


@pytest.mark.parametrize(("country", "state"), [("US", "NY"), ("CA", "ON"), ("DE", "Bavaria"), ("GB", None)])
def test_states_that_exist(country: str, state: str | None) -> None:
    assert ContactDetails(country=country, state=state).state == state


@pytest.mark.parametrize(("country", "state"), [("US", "ON"), ("US", "New York"), ("CA", "NY"), ("US", "ny")])
def test_states_that_do_not_exist(country: str, state: str) -> None:
    with pytest.raises(ValidationError):
        ContactDetails(country=country, state=state)


def _key(message: type[Command]) -> str:
    return message.key


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*PERSONAL_FIELDS, "country", "status", "contact"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(value=JSON)
def test_no_personal_field_keeps_what_it_said(value: object) -> None:
    def personal(part: object) -> list[object]:
        if isinstance(part, dict):
            own = [inner for name, inner in part.items() if name in PERSONAL_FIELDS]
            return own + [found for inner in part.values() for found in personal(inner)]
        return [found for inner in part for found in personal(inner)] if isinstance(part, list) else []

    assert set(map(str, personal(anonymized(value)))) <= {"None", REMOVED, REMOVED_EMAIL, "000"}
    assert anonymized(anonymized(value)) == anonymized(value)


def test_country_language_and_what_was_empty_stay() -> None:
    contact = {
        "last_name": "L",
        "country": "DE",
        "language": "de",
        "company": None,
        "state": "Bavaria",
        "phone": "12345",
    }
    assert anonymized({"billing_contact": contact, "state": "sent", "amount": 1}) == {
        "billing_contact": {
            "last_name": REMOVED,
            "country": "DE",
            "language": "de",
            "company": None,
            "state": REMOVED,
            "phone": "000",
        },
        "state": "sent",
        "amount": 1,
    }


COMMANDS: list[type[Command]] = sorted(
    (message for message in Message.registered.values() if issubclass(message, Command)), key=_key
)


@pytest.mark.parametrize("message", COMMANDS)
def test_what_commands_answer_holds_no_personal_data(message: type[Command]) -> None:
    """Replies are kept for weeks to be sent again; nobody would find a person in them to remove it."""
    schema = message.reply.model_json_schema()
    names = {name for part in (schema, *schema.get("$defs", {}).values()) for name in part.get("properties", {})}
    assert not names & PERSONAL_FIELDS
