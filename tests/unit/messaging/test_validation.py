"""Who sent it, for whom, in whose name, and whether it may be handled only once."""

import json
from typing import Any
from uuid import UUID

import pytest

from shared.contracts.errorlog import ErrorRaised
from shared.contracts.message import Data
from shared.contracts.notifications import EmailSent
from shared.contracts.purchases import GetPurchase, RequestRefund
from shared.contracts.refusals import Refused
from shared.messaging import names
from shared.messaging.handlers import Handlers
from shared.messaging.inbound.authorization import Principal, Principals
from shared.messaging.inbound.incoming_message import IncomingMessage
from shared.messaging.inbound.validation import validate_message
from shared.messaging.names import QueueKind
from shared.messaging.unit_of_work import UnitOfWork

ID = "0190a5c1-0000-7000-8000-000000000001"
BODY = json.dumps({"reference_number": "123456789", "kind": "total", "reason": "goodwill"}).encode()
HEADERS = {"client-id": "shop", "actor": "service:checkout"}
handlers = Handlers("purchases")


@handlers.command(RequestRefund)
async def request_refund(_command: RequestRefund, _work: UnitOfWork) -> Data:
    raise NotImplementedError


@handlers.query(GetPurchase)
async def get_purchase(_query: GetPurchase, _work: UnitOfWork) -> Data:
    raise NotImplementedError


@handlers.event(EmailSent)
async def on_email_sent(_event: EmailSent, _work: UnitOfWork) -> None:
    raise NotImplementedError


listening = Handlers("errorlog")


@listening.event(ErrorRaised, pattern="*.error.raised.v1")
async def on_error_raised(_event: ErrorRaised, _work: UnitOfWork) -> None:
    raise NotImplementedError


principals = Principals(
    peers={
        "checkout": Principal(
            sends=frozenset({RequestRefund.key, GetPurchase.key, "checkout.error.raised.v1"}),
            clients=frozenset({"shop"}),
            acts_for=("service:checkout",),
        ),
        "console": Principal(
            sends=frozenset({GetPurchase.key, RequestRefund.key}), clients="*", acts_for=("user:*",), all_clients=True
        ),
        "loose": Principal(clients="*", acts_for=("service:checkout",)),
    }
)


def incoming(**changes: Any) -> IncomingMessage:
    fields: dict[str, Any] = {
        "service": "purchases",
        "queue": "purchases.commands",
        "kind": QueueKind.COMMANDS,
        "exchange": names.COMMANDS,
        "key": RequestRefund.key,
        "user": "checkout",
        "body": BODY,
        "headers": {"client-id": "shop", "actor": "service:checkout"},
        "content_type": "application/json",
        "content_encoding": None,
        "message_id": ID,
        "correlation_id": "flow-1",
        "reply_to": None,
        "attempts": 0,
    }
    return IncomingMessage(**(fields | changes))


def code(changed: IncomingMessage) -> str:
    with pytest.raises(Refused) as caught:
        validate_message(changed, handlers, principals)
    return caught.value.code


def test_a_good_message_is_valid_with_its_context() -> None:
    request = validate_message(incoming(), handlers, principals)
    assert request.context.client_id == "shop"
    assert request.context.actor == "service:checkout"
    assert request.context.correlation_id == "flow-1"
    assert request.context.message_id == UUID(ID)


@pytest.mark.parametrize(
    ("given", "kept"),
    [(None, None), ("ticket 4711", "ticket 4711"), ("  wie gewünscht ", "wie gewünscht"), ("x" * 255, "x" * 255)],
)
def test_the_reason_belongs_to_the_context(given: str | None, kept: str | None) -> None:
    headers = HEADERS if given is None else HEADERS | {"reason": given}
    assert validate_message(incoming(headers=headers), handlers, principals).context.reason == kept


@pytest.mark.parametrize(
    "message_id", [None, "", "x", "nil", f"{{{ID}}}", ID.replace("-", ""), "0" * 8 + "-0000-0000-0000-" + "0" * 12]
)
def test_a_command_without_a_uuid_is_refused(message_id: str | None) -> None:
    assert code(incoming(message_id=message_id)) == "message_id_missing"


def test_an_uppercase_uuid_is_the_same_uuid() -> None:
    assert validate_message(incoming(message_id=ID.upper()), handlers, principals).context.message_id == UUID(ID)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"key": "purchases.refund.request.v2"}, "unexpected_route"),
        ({"key": EmailSent.key}, "unexpected_route"),
        ({"exchange": ""}, "unexpected_route"),
        ({"exchange": names.EVENTS}, "unexpected_route"),
        ({"rerouted": True, "user": "purchases"}, "unexpected_route"),
        ({"user": ""}, "user_id_missing"),
        ({"user": "stranger"}, "forbidden_action"),
        ({"headers": {"actor": "service:checkout"}}, "client_id_invalid"),
        ({"headers": {"client-id": "Shop!", "actor": "service:checkout"}}, "client_id_invalid"),
        ({"headers": {"client-id": {"nested": 1}, "actor": "service:checkout"}}, "client_id_invalid"),
        ({"headers": {"client-id": "shop"}}, "actor_invalid"),
        ({"headers": {"client-id": "shop", "actor": "root"}}, "actor_invalid"),
        ({"headers": {"client-id": "shop", "actor": "service:check\r\nout"}}, "actor_invalid"),
        ({"headers": HEADERS | {"reason": ""}}, "reason_invalid"),
        ({"headers": HEADERS | {"reason": "   "}}, "reason_invalid"),
        ({"headers": HEADERS | {"reason": "x" * 256}}, "reason_invalid"),
        ({"headers": HEADERS | {"reason": "one\ntwo"}}, "reason_invalid"),
        ({"headers": HEADERS | {"reason": "nul\x00"}}, "reason_invalid"),
        ({"headers": HEADERS | {"reason": "\u202eturned round"}}, "reason_invalid"),
        ({"headers": HEADERS | {"reason": 7}}, "reason_invalid"),
        ({"headers": HEADERS | {"reason": b"bytes"}}, "reason_invalid"),
        ({"headers": HEADERS | {"reason": "card 4111 1111 1111 1111"}}, "card_number"),
        ({"headers": {"client-id": "other", "actor": "service:checkout"}}, "forbidden_client"),
        ({"headers": {"client-id": "*", "actor": "service:checkout"}}, "forbidden_client"),
        ({"headers": {"client-id": "shop", "actor": "user:kim"}}, "forbidden_actor"),
        ({"headers": {"client-id": "shop", "actor": "service:checkout2"}}, "forbidden_actor"),
        ({"user": "console", "headers": {"client-id": "*", "actor": "user:kim"}}, "forbidden_client"),
        ({"user": "console", "headers": {"client-id": "shop", "actor": "service:purchases"}}, "forbidden_actor"),
    ],
)
def test_what_may_not_be_sent_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert code(incoming(**changes)) == expected


def test_an_event_of_another_publisher_is_refused() -> None:
    spoofed = incoming(
        kind=QueueKind.EVENTS, queue="purchases.events", exchange=names.EVENTS, key=EmailSent.key, user="checkout"
    )
    assert code(spoofed) == "forbidden_publisher"


def event(user: str, key: str, **headers: str) -> IncomingMessage:
    return incoming(
        kind=QueueKind.EVENTS,
        queue="errorlog.events",
        exchange=names.EVENTS,
        key=key,
        user=user,
        body=b'{"error_type": "payment_failure", "title": "No answer"}',
        headers=HEADERS | {name.replace("_", "-"): value for name, value in headers.items()},
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"client_id": "other"}, "forbidden_client"),
        ({"client_id": "*"}, "forbidden_client"),
        ({"actor": "user:ada"}, "forbidden_actor"),
        ({"actor": "service:purchases"}, "forbidden_actor"),
        ({"key": "checkout.unknown.raised.v1"}, "unexpected_route"),
        ({"key": "loose.error.raised.v1", "user": "loose"}, "forbidden_action"),
        ({"key": "stranger.error.raised.v1", "user": "stranger"}, "forbidden_action"),
    ],
)
def test_an_event_of_a_peer_is_for_its_clients_and_in_its_names_only(changes: dict[str, str], expected: str) -> None:
    """A peer of one client could write into another client's error log, as any person."""
    sent = event(**({"user": "checkout", "key": "checkout.error.raised.v1"} | changes))
    with pytest.raises(Refused) as refused:
        validate_message(sent, listening, principals)
    assert refused.value.code == expected


def test_a_peers_own_event_is_taken() -> None:
    request = validate_message(event("checkout", "checkout.error.raised.v1"), listening, principals)
    assert (request.context.client_id, request.context.actor) == ("shop", "service:checkout")


@pytest.mark.parametrize("client", ["shop", "platform", "*"])
def test_an_event_of_a_service_carries_on_what_its_caller_was_allowed(client: str) -> None:
    sent = event("directory", "directory.error.raised.v1", client_id=client, actor="user:ada")
    assert validate_message(sent, listening, principals).context.client_id == client


def test_where_nothing_proves_a_user_events_are_not_checked_either() -> None:
    sent = event("guest", "checkout.error.raised.v1", client_id="other")
    assert validate_message(sent, listening, Principals(isolated=False)).context.client_id == "other"


def test_what_is_refused_before_the_client_is_proved_says_so() -> None:
    """A card number in a header was the reason, and the dead letter stood in the log of a client it only named."""
    assert (
        code(incoming(headers={"client-id": "other", "actor": "service:checkout", "note": CARD})) == "forbidden_client"
    )


def test_all_clients_are_for_queries_of_those_who_may() -> None:
    query = incoming(
        kind=QueueKind.QUERIES,
        queue="purchases.queries",
        key=GetPurchase.key,
        user="console",
        body=b'{"reference_number": "123456789"}',
        headers={"client-id": "*", "actor": "user:kim"},
        message_id=None,
    )
    assert validate_message(query, handlers, principals).context.client_id == "*"


def test_the_fingerprint_tells_apart_key_client_user_and_body() -> None:
    seen = {
        validate_message(changed, handlers, principals).fingerprint
        for changed in (
            incoming(),
            incoming(body=BODY.replace(b"goodwill", b"fraud")),
            incoming(user="console", headers={"client-id": "shop", "actor": "user:kim"}),
            incoming(user="console", headers={"client-id": "other", "actor": "user:kim"}),
        )
    }
    assert len(seen) == 4


@pytest.mark.parametrize("traceparent", ["garbage", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "x" * 10_000, 5])
def test_a_bad_trace_context_is_ignored(traceparent: object) -> None:
    headers = {"client-id": "shop", "actor": "service:checkout", "traceparent": traceparent}
    assert validate_message(incoming(headers=headers), handlers, principals).context.traceparent is None


@pytest.mark.parametrize(
    ("reply_to", "usable"),
    [
        ("replies.checkout.1", True),
        ("replies.console.1", False),
        ("replies.checkout.", False),
        ("purchases.commands", False),
        ("amq.rabbitmq.reply-to.g1", False),
        (None, False),
    ],
)
def test_a_reply_goes_to_the_callers_own_queue_only(reply_to: str | None, usable: bool) -> None:
    assert (incoming(reply_to=reply_to).reply_queue(isolated=True) is not None) is usable


CARD = "4111 1111 1111 1111"
PERSON = {"client-id": "shop", "actor": "user:kim"}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"headers": PERSON | {"client-id": CARD.replace(" ", "")}}, id="client"),
        pytest.param({"headers": PERSON | {"actor": f"user:{CARD.replace(' ', '')}"}}, id="actor"),
        pytest.param({"headers": PERSON | {"note": CARD}}, id="any header"),
        pytest.param({"headers": PERSON | {CARD: "note"}}, id="name of a header"),
        pytest.param({"correlation_id": f"order {CARD}"}, id="correlation id"),
    ],
)
def test_a_card_number_beside_the_body_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        validate_message(incoming(user="console", **({"headers": PERSON} | changes)), handlers, principals)
    assert refused.value.code == "card_number"


@pytest.mark.parametrize("letter", ["a", "A"])
def test_an_id_or_a_trace_of_hexadecimal_digits_is_no_card_number(letter: str) -> None:
    digits = CARD.replace(" ", "")
    validate_message(
        incoming(
            correlation_id=f"{digits}{letter * 16}",
            headers=HEADERS | {"traceparent": f"00-{digits}{'a' * 16}-{digits}-01"},
        ),
        handlers,
        principals,
    )
