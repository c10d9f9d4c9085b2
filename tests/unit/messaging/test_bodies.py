"""Every body of the bad-input catalogue is refused with its code, and never breaks the parser."""

import json
from typing import Any

import pytest

from shared.contracts.purchases import RefundCompleted, RequestRefund
from shared.contracts.refusals import Refused
from shared.messaging.anonymization import anonymized_body
from shared.messaging.inbound.bodies import MAX_BODY, check_envelope, masked, validate

GOOD: dict[str, Any] = {"reference_number": "123456789", "kind": "total", "reason": "goodwill"}


def refusal(body: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        validate(RequestRefund, body)
    return caught.value


def changed(**fields: Any) -> bytes:
    return json.dumps(GOOD | fields).encode()


def test_a_good_body_is_taken() -> None:
    message = validate(RequestRefund, json.dumps(GOOD).encode())
    assert isinstance(message, RequestRefund)
    assert message.reference_number == "123456789"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b'{"reference_number":', "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        ("\ufeff{}".encode(), "invalid_json"),
        (json.dumps(GOOD).encode("utf-16"), "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"amount": NaN}', "invalid_json"),
        (b'{"amount": Infinity}', "invalid_json"),
        (b'{"amount": ' + b"9" * 5000 + b"}", "invalid_json"),
        (b'{"kind": "total", "kind": "items"}', "duplicate_keys"),
        (b'{"lines": [{"a": 1, "a": 2}]}', "duplicate_keys"),
        (b'{"remark": "a\\u0000b"}', "unstorable_text"),
        (b'{"remark": "\\ud800"}', "unstorable_text"),
        (b"null", "invalid_body"),
        (b"[]", "invalid_body"),
        (b'"text"', "invalid_body"),
        (b"1e400", "invalid_body"),
        (changed(admin=True), "invalid_body"),
        (changed(reference_number=123456789), "invalid_body"),
        (changed(reference_number="١٢٣٤٥٦٧٨٩"), "invalid_body"),
        (changed(notify_customer=1), "invalid_body"),
        (changed(notify_customer="true"), "invalid_body"),
        (changed(kind="TOTAL"), "invalid_body"),
        (changed(remark="x" * 4001), "invalid_body"),
        (changed(remark="a\u202eb"), "invalid_body"),
        (changed(remark="4111 1111 1111 1111"), "card_number"),
        (changed(client_order_id="A1"), "invalid_body"),
        (
            changed(kind="amount", lines=[{"running_number": 1, "amount": {"amount": 0.1, "currency": "EUR"}}]),
            "invalid_body",
        ),
        (
            changed(kind="amount", lines=[{"running_number": 1, "amount": {"amount": 0, "currency": "EUR"}}]),
            "invalid_body",
        ),
        (
            changed(kind="amount", lines=[{"running_number": 1, "amount": {"amount": 5, "currency": "eur"}}]),
            "invalid_body",
        ),
        (
            changed(kind="amount", lines=[{"running_number": 1, "amount": {"amount": 5, "currency": "XYZ"}}]),
            "invalid_body",
        ),
        (changed(kind="quantity", lines=[{"running_number": 1, "quantity": True}]), "invalid_body"),
        (changed(kind="items", lines=[{"running_number": 1}] * 2), "invalid_body"),
        (changed(kind="items", lines=[{"running_number": n} for n in range(1, 10_001)]), "invalid_body"),
        (changed(reason="other"), "invalid_body"),
    ],
)
def test_a_bad_body_is_refused_with_its_code(body: bytes, code: str) -> None:
    assert refusal(body).code == code


NESTED = [
    pytest.param(b"[" * depth + b'"4111111111111111"' + b"]" * depth, id=f"{depth} lists")
    for depth in (200, 500, 900, 990)
] + [
    pytest.param(b'{"a":' * depth + b"4111111111111111" + b"}" * depth, id=f"{depth} objects")
    for depth in (200, 500, 990)
]


@pytest.mark.parametrize("body", NESTED)
def test_a_card_number_deep_inside_is_found_and_masked(body: bytes) -> None:
    """The walk over the body went one call deeper with every list, and ended in a RecursionError outside every net."""
    assert refusal(body).code in {"card_number", "invalid_json"}
    kept = masked(body)
    assert b"************1111" in kept
    assert b"4111" not in kept


def test_what_is_masked_keeps_its_form() -> None:
    body: dict[str, Any] = {
        "4111111111111111": [1, 4111111111111111, True, None, 2.5, "a 4111 1111 1111 1111 b", {"b": {}}],
        "c": "d",
    }
    assert json.loads(masked(json.dumps(body).encode())) == {
        "************1111": [1, "************1111", True, None, 2.5, "a **** **** **** 1111 b", {"b": {}}],
        "c": "d",
    }


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"a":' * depth + b'{"first_name": "Jane"}' + b"}" * depth for depth in (200, 500, 900, 5000)),
        b'{"note": "x", "b": "\\ud800", "first_name": "Jane"}',
    ],
    ids=[*"1234", "half a character"],
)
def test_anonymizing_breaks_at_no_body(body: bytes) -> None:
    assert b"Jane" not in anonymized_body(body)


def test_the_fields_at_fault_are_named_and_their_values_are_not() -> None:
    refused = refusal(changed(remark=["secret canary"], reason="canary"))
    assert {error.path for error in refused.errors} == {"/remark", "/reason"}
    assert "canary" not in refused.problem().model_dump_json()


def test_an_event_may_grow_at_any_depth() -> None:
    event = {
        "refund_id": "0190a5c1-0000-7000-8000-000000000001",
        "purchase_id": "0190a5c1-0000-7000-8000-000000000002",
        "reference_number": "123456789",
        "kind": "total",
        "amount": {"amount": 1, "currency": "EUR", "new": 1},
        "tax": {"amount": 0, "currency": "EUR"},
        "reason": "goodwill",
        "completed_at": "2026-11-22T01:28:00Z",
        "remaining": {"amount": 0, "currency": "EUR"},
        "payment_type": "visa",
        "notify_customer": True,
        "billing_contact": {"last_name": "Doe", "country": "DE", "email": "a@example.com", "new": 1},
        "lines": [],
        "new": 1,
    }
    assert isinstance(validate(RefundCompleted, json.dumps(event).encode()), RefundCompleted)


@pytest.mark.parametrize(
    ("size", "content_type", "encoding", "code"),
    [
        (MAX_BODY + 1, None, None, "too_large"),
        (1, "text/plain", None, "unsupported_content_type"),
        (1, "application/xml", None, "unsupported_content_type"),
        (1, "application/json; charset=latin-1", None, "unsupported_content_type"),
        (1, "application/json", "gzip", "unsupported_content_encoding"),
    ],
)
def test_an_envelope_that_does_not_fit_is_refused(
    size: int, content_type: str | None, encoding: str | None, code: str
) -> None:
    with pytest.raises(Refused) as caught:
        check_envelope(size=size, content_type=content_type, content_encoding=encoding)
    assert caught.value.code == code


@pytest.mark.parametrize("content_type", [None, "", "application/json", "application/json;charset=UTF-8"])
def test_the_usual_content_types_are_taken(content_type: str | None) -> None:
    check_envelope(size=MAX_BODY, content_type=content_type, content_encoding=None)


@pytest.mark.parametrize(
    "body",
    [
        b'{"card": "4111 1111 1111 1111", "card": 1}',
        b'{"card": "' + "".join(f"\\u{ord(digit):04x}" for digit in "4111111111111111").encode() + b'"',
        b"4111-1111-1111-1111 and " + "".join(f"\\u{ord(digit):04x}" for digit in "4111111111111111").encode(),
        '"4111111111111111"'.encode("utf-16"),
    ],
    ids=["hidden by a second field", "escaped, cut short", "both ways", "UTF-16"],
)
def test_a_card_number_in_what_is_no_proper_json_is_not_kept(body: bytes) -> None:
    kept = masked(body).decode("latin-1").replace("\x00", "")
    assert "4111" not in kept
    assert "\\u0034" not in kept
