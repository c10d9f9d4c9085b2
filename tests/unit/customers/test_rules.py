"""Who is the same customer, what may be done, and what stays when somebody is to be forgotten."""

from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.customers.customer.rules import (
    Action,
    Standing,
    actions,
    digest,
    identity_of,
    likeness_of,
    merge_obstacle,
    missing_fields,
    obstacle,
)
from shared.contracts.customers import ContactDetails
from shared.contracts.message import Command, Message
from shared.contracts.personal import PERSONAL_FIELDS, REMOVED, REMOVED_EMAIL, anonymized
from shared.contracts.purchases import ContactRole

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


def standing(
    customer_id: UUID = ONE,
    *,
    client_id: str = "acme",
    merged_into: UUID | None = None,
    anonymized: bool = False,
    open_refunds: int = 0,
    contacts: int = 2,
) -> Standing:
    return Standing(customer_id, client_id, merged_into, anonymized, open_refunds, contacts)


def test_nothing_may_be_done_with_who_was_forgotten() -> None:
    for action in Action:
        no = obstacle(action, standing(anonymized=True, merged_into=TWO))
        assert no is not None
        assert no.code == "customer_anonymized"


@pytest.mark.parametrize("action", set(Action) - {Action.UNMERGE})
def test_an_alias_is_changed_at_its_customer(action: Action) -> None:
    no = obstacle(action, standing(merged_into=TWO))
    assert no is not None
    assert no.code == "customer_is_alias"
    assert obstacle(Action.UNMERGE, standing(merged_into=TWO)) is None


@pytest.mark.parametrize(
    ("survivor", "merged", "code"),
    [
        (standing(), standing(), "same_customer"),
        (standing(), standing(TWO, client_id="other"), "different_clients"),
        (standing(merged_into=TWO), standing(TWO), "merge_cycle"),
        (standing(merged_into=THREE), standing(TWO), "customer_is_alias"),
        (standing(), standing(TWO, merged_into=THREE), "customer_is_alias"),
        (standing(open_refunds=1), standing(TWO), "refund_open"),
        (standing(), standing(TWO, open_refunds=1), "refund_open"),
        (standing(anonymized=True), standing(TWO), "customer_anonymized"),
        (standing(), standing(TWO, anonymized=True), "customer_anonymized"),
        (standing(), standing(TWO), None),
    ],
)
def test_what_cannot_be_merged(survivor: Standing, merged: Standing, code: str | None) -> None:
    no = merge_obstacle(survivor, merged)
    assert (no.code if no else None) == code


def test_the_profile_says_what_the_rules_say() -> None:
    for merged_into, gone, refunds, contacts in product((None, TWO), (True, False), (0, 1), (1, 2, 3)):
        one = standing(merged_into=merged_into, anonymized=gone, open_refunds=refunds, contacts=contacts)
        for shown in actions(one, Action):
            no = obstacle(Action(shown.name), one)
            assert (shown.allowed, shown.code) == (no is None, no.code if no else None)


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
