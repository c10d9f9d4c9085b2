"""What the error log believes about a message that nobody could handle."""

from typing import Any

from shared.messaging import names
from shared.messaging.inbound.dead_letter_pipeline import read_letter
from shared.messaging.inbound.incoming_message import IncomingMessage
from shared.messaging.names import QueueKind

ID = "0190a5c1-0000-7000-8000-000000000001"
OURS = {
    "x-aftersale-queue": "purchases.commands",
    "x-aftersale-key": "purchases.refund.request.v1",
    "x-aftersale-exchange": names.COMMANDS,
    "x-aftersale-user": "checkout",
    "x-aftersale-reason": "attempts_used_up",
    "x-aftersale-message-id": ID,
    "x-aftersale-attempts": 4,
    "x-aftersale-error-at": "services/purchases/refunds.py:1 in request_refund",
    "client-id": "shop",
}
GIVEN_UP = [
    {
        "queue": "purchases.commands",
        "reason": "delivery_limit",
        "count": 1,
        "exchange": names.COMMANDS,
        "routing-keys": ["purchases.purchase.record.v1"],
    }
]


def incoming(headers: dict[str, Any], **changes: Any) -> IncomingMessage:
    fields: dict[str, Any] = {
        "service": "errorlog",
        "queue": names.DEAD_LETTERS,
        "kind": QueueKind.EVENTS,
        "exchange": names.DEAD,
        "key": "purchases.commands",
        "user": "purchases",
        "body": b'{"remark": "4111 1111 1111 1111"}',
        "headers": headers,
        "content_type": "application/json",
        "content_encoding": None,
        "message_id": "0190a5c1-0000-7000-8000-00000000000f",
        "correlation_id": "flow",
        "reply_to": None,
        "attempts": 0,
    }
    return IncomingMessage(**(fields | changes))


def test_our_own_copy_tells_where_why_and_how_often() -> None:
    letter = read_letter(incoming(OURS))
    assert (letter.queue, letter.key, letter.user) == ("purchases.commands", "purchases.refund.request.v1", "checkout")
    assert (letter.reason, letter.attempts, str(letter.message_id)) == ("attempts_used_up", 4, ID)
    assert letter.error_at == OURS["x-aftersale-error-at"]
    assert b"4111" not in letter.body


def test_what_the_broker_gave_up_is_read_from_the_brokers_headers_only() -> None:
    """A sender may have put our headers on it, to make the error log tell another story."""
    letter = read_letter(incoming(OURS | {"x-death": GIVEN_UP}, user="checkout", message_id=ID))
    assert (letter.queue, letter.key) == ("purchases.commands", "purchases.purchase.record.v1")
    assert (letter.reason, letter.attempts, letter.user) == ("delivery_limit", 1, "checkout")
    assert letter.error_at is None
    assert str(letter.message_id) == ID


def test_the_flow_and_the_trace_of_a_dead_letter_stay_as_they_are() -> None:
    digits = "4111111111111111"
    flow, trace = digits + "a" * 16, f"00-{digits}{'a' * 16}-{digits}-01"
    letter = read_letter(incoming(OURS | {"traceparent": trace}, correlation_id=flow))
    assert (letter.correlation_id, letter.headers["traceparent"]) == (flow, trace)
