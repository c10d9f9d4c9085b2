"""What counts as the same trouble, and whose it is."""

from typing import Any

import pytest

from services.errorlog import rules
from shared.contracts.errorlog import ErrorRaised, PurchasesErrorRaised

FRAME = "services/purchases/refunds.py:123 in request_refund"


def raised(**changes: Any) -> ErrorRaised:
    return PurchasesErrorRaised(**{"error_type": "refund_failed", "title": "A refund failed", **changes})


def letter(**changes: Any) -> str:
    where: dict[str, Any] = {
        "queue": "purchases.commands",
        "handler": "request_refund",
        "reason": "attempts_used_up",
        "error_type": "ValueError",
        "error_at": FRAME,
    }
    return rules.fingerprint_of_dead_letter(**{**where, **changes})


def test_the_cause_of_a_raised_error_is_its_type_unless_the_service_says_more() -> None:
    plain = rules.fingerprint_of_raised("purchases", raised())
    assert rules.fingerprint_of_raised("purchases", raised(title="Other words", reference_number="123456789")) == plain
    assert rules.fingerprint_of_raised("purchases", raised(error_type="payment_failed")) != plain
    assert rules.fingerprint_of_raised("notifications", raised()) != plain
    named = rules.fingerprint_of_raised("purchases", raised(fingerprint="provider down"))
    assert named == rules.fingerprint_of_raised("purchases", raised(error_type="other", fingerprint="provider down"))
    assert named != plain


def test_a_type_cannot_pass_for_a_given_cause() -> None:
    given = rules.fingerprint_of_raised("purchases", raised(fingerprint="refund_failed"))
    assert given != rules.fingerprint_of_raised("purchases", raised())


def test_the_next_release_makes_no_new_trouble_of_old() -> None:
    assert letter(error_at=FRAME.replace("123", "98")) == letter()


@pytest.mark.parametrize(
    "changed",
    [
        {"queue": "purchases.events"},
        {"handler": "record_payment"},
        {"reason": "missing_prerequisite"},
        {"error_type": "KeyError"},
        {"error_at": "services/purchases/refunds.py:123 in plan_refund"},
        {"error_at": None},
    ],
)
def test_another_place_is_another_cause(changed: dict[str, Any]) -> None:
    assert letter(**changed) != letter()


def test_the_same_cause_at_another_purchase_or_item_is_an_entry_of_its_own() -> None:
    cause = letter()
    entries = [
        rules.same_trouble(cause, None),
        rules.same_trouble(cause, "123456789"),
        rules.same_trouble(cause, "987654321"),
        rules.same_trouble(cause, "123456789", 1),
        rules.same_trouble(cause, "123456789", 2),
    ]
    assert len(set(entries)) == len(entries)


@pytest.mark.parametrize(
    ("reason", "named", "sender", "whose"),
    [
        ("attempts_used_up", "demo-shop", "checkout", "demo-shop"),
        ("invalid_body", "demo-shop", "checkout", "demo-shop"),
        ("forbidden_client", "demo-shop", "checkout", "platform"),
        ("message_id_missing", "demo-shop", "checkout", "platform"),
        ("attempts_used_up", None, "checkout", "platform"),
        ("attempts_used_up", "*", "checkout", "platform"),
        ("attempts_used_up", "demo-shop\n", "checkout", "platform"),
        ("delivery_limit", "demo-shop", "checkout", "platform"),
        ("delivery_limit", "demo-shop", "purchases", "demo-shop"),
        ("not_handled", "demo-shop", "checkout", "platform"),
    ],
)
def test_a_client_named_by_somebody_unproven_is_not_believed(
    reason: str, named: str | None, sender: str, whose: str
) -> None:
    assert rules.client_of(reason, named, sender) == whose


@pytest.mark.parametrize("candidate", ["12345678", "0123456789", "123456789\n", "12345678a", 123456789, None, {}])
def test_what_is_no_reference_number_is_none(candidate: object) -> None:
    assert rules.reference_number_of(candidate) is None


def test_a_dead_letter_has_the_reason_as_its_type() -> None:
    assert rules.error_type_of("invalid_body") == "invalid_body"
    assert rules.error_type_of("Odd reason!") == "dead_letter"
    assert rules.title_of("purchases.refund.request.v1", "invalid_body") == (
        "purchases.refund.request.v1 does not have the form that was agreed"
    )
    assert rules.title_of("", "odd_one") == "A message could not be handled: odd one"
