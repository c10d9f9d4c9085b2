"""Any properties, headers and body: a message is a request or refused, and what is made of it can be sent on.

The values go through the decoders that the services use. Locally every run draws other examples, with CI set the same.
"""

import json
import os
from typing import Any, cast

from aio_pika import IncomingMessage as Delivered
from aiormq.abc import AbstractChannel, DeliveredMessage
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pamqp import encode, frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from deploy.services import load_all
from shared.contracts.message import Message
from shared.contracts.refusals import Refused
from shared.messaging import names
from shared.messaging.dead_letter import DeadLetter
from shared.messaging.handlers import Handlers
from shared.messaging.inbound.authorization import Principals
from shared.messaging.inbound.bodies import masked
from shared.messaging.inbound.dead_letter_pipeline import read_letter
from shared.messaging.inbound.incoming_message import IncomingMessage, read_incoming
from shared.messaging.inbound.lenient_decoding import read_headers, read_leniently, read_short_text, read_timestamp
from shared.messaging.inbound.validation import Request, correlation_of, validate_message
from shared.messaging.names import QueueKind
from shared.messaging.outbound.publisher import Publisher
from shared.messaging.outbound.replies import Reply
from shared.messaging.recovery.retry import Cause, Retry
from shared.observability.metrics import Metrics
from tests.support.samples import sample
from tools.dev.instance import CHECKOUT

EXAMPLES = 500
CARD = "4111111111111111"
HANDLERS: dict[str, Handlers] = {service.name: service.handlers for service in load_all()}
KEYS = sorted(Message.registered)
PRINCIPALS = Principals.load(CHECKOUT / "deploy" / "peers.yaml", isolated=True)
METRICS = Metrics("purchases")
RETRY = Retry(
    Publisher("amqp://nobody@localhost", name="never connected", timeout=1, metrics=METRICS),
    service="purchases",
    user="purchases",
    metrics=METRICS,
)
read_leniently()


def among(*good: str) -> st.SearchStrategy[bytes]:
    """A short string: one that fits, one that fits with something behind it, or any bytes."""
    fitting = st.sampled_from([text.encode() for text in good])
    behind = st.builds(lambda text, rest: (text + rest)[:255], fitting, st.binary(max_size=255))
    return st.one_of(fitting, fitting, behind, st.binary(max_size=255), st.just(b"\xff" * 255))


texts = st.one_of(st.text(max_size=40), st.sampled_from([CARD, "demo-shop", "\x00", "9999-12-31T23:59:59-12:00", "*"]))
numbers = st.integers(-(2**63), 2**63 - 1)
field_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.floats(), texts, st.binary(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=20), inner, max_size=3)),
    max_leaves=6,
)
ours = st.sampled_from(
    ["attempts", "queue", "key", "exchange", "user", "reason", "died-at", "message-id", "reference", "detail"]
).map("x-aftersale-{}".format)
header_names = st.one_of(st.text(max_size=40), ours, st.sampled_from(["reason", "traceparent", "x-death", CARD]))
deaths = st.lists(
    st.dictionaries(st.sampled_from(["queue", "reason", "count", "exchange", "routing-keys"]), field_values), max_size=2
)
headers = st.builds(
    lambda usual, more, death: usual | more | death,
    st.fixed_dictionaries(
        {},
        optional={
            "client-id": st.sampled_from(["demo-shop", "*", "platform", "Demo"]),
            "actor": st.sampled_from(["service:checkout", "user:ada", "service:purchases", f"user:{CARD}"]),
        },
    ),
    st.dictionaries(header_names, st.one_of(texts, field_values), max_size=4),
    st.fixed_dictionaries({}, optional={"x-death": deaths}),
)


def table_of(entries: dict[str, Any]) -> bytes:
    """Encoded, or a table that cannot be read where pamqp cannot write it."""
    try:
        return encode.field_table(entries)
    except Exception:  # noqa: BLE001 - not what is tested
        return b"\x00\x00\x00\x02\x05a"


tables = st.one_of(
    headers.map(table_of),
    headers.map(table_of),
    st.binary(max_size=60).map(lambda raw: len(raw).to_bytes(4, "big") + raw),
)
json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just(CARD), st.just(int(CARD))
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=10,
)


def nested(depth: int, inside: bytes, opening: bytes) -> bytes:
    closing = b"]" if opening == b"[" else b"}"
    return opening * depth + inside + closing * depth


def bodies(key: str) -> st.SearchStrategy[bytes]:
    good = sample(Message.registered[key])
    changed = st.builds(
        lambda name, value: json.dumps(good | {name: value}).encode(), st.sampled_from([*good, "extra"]), json_values
    )
    deep = st.builds(
        nested,
        st.sampled_from([10, 200, 500, 800, 900, 950, 990, 2000]),
        st.sampled_from([b"1", b'"4111111111111111"', b"4111111111111111", b'"\\ud800\\u0000"']),
        st.sampled_from([b"[", b'{"a":']),
    )
    cut = changed.flatmap(lambda body: st.integers(0, len(body)).map(lambda end: body[:end]))
    return st.one_of(st.just(json.dumps(good).encode()), changed, deep, cut, st.binary(max_size=200))


@st.composite
def delivered(draw: st.DrawFn) -> tuple[Delivered, QueueKind, str]:
    """A message as aio-pika hands it out, after our decoders, with the queue kind and the service."""
    key = draw(st.sampled_from(KEYS))
    properties = Basic.Properties(delivery_mode=draw(st.sampled_from([1, 2])), priority=draw(st.integers(0, 255)))
    for name, strategy in {
        "content_type": among("application/json", "application/json; charset=utf-8"),
        "content_encoding": st.one_of(st.just(b""), st.just(b""), among("gzip")),
        "message_id": among("0190a5c1-0000-7000-8000-000000000001", CARD),
        "correlation_id": among("flow", CARD),
        "reply_to": among("replies.checkout.1", "replies.purchases.1"),
        "message_type": among(key),
        "user_id": among("checkout", "console", key.split(".", maxsplit=1)[0]),
        "app_id": among("checkout"),
    }.items():
        value = draw(strategy)
        setattr(properties, name, read_short_text(bytes([len(value)]) + value)[1])
    properties.timestamp = read_timestamp(draw(st.integers(0, 2**64 - 1)).to_bytes(8, "big"))[1]
    properties.headers = read_headers(draw(tables))[1]
    routing_key = draw(among(key))
    body = draw(bodies(key))
    message = DeliveredMessage(
        delivery=Basic.Deliver(
            "tag",
            1,
            False,
            draw(st.sampled_from([names.COMMANDS, names.EVENTS, names.RETURN, ""])),
            read_short_text(bytes([len(routing_key)]) + routing_key)[1],
        ),
        header=ContentHeader(0, len(body), properties),
        body=body,
        channel=cast(AbstractChannel, None),
    )
    return Delivered(message), draw(st.sampled_from(QueueKind)), draw(st.sampled_from(sorted(HANDLERS)))


def encodable(properties: Basic.Properties) -> None:
    """Raises whatever the client library would raise in the task that sends it."""
    assert frame.marshal(ContentHeader(0, 0, properties), 1)


@settings(max_examples=EXAMPLES, derandomize="CI" in os.environ)
@given(delivered())
def test_any_message_is_a_request_or_refused_and_gets_a_place(given: tuple[Delivered, QueueKind, str]) -> None:
    raw, kind, service = given
    incoming = read_incoming(raw, service=service, queue=f"{service}.{kind}", kind=kind)
    cause = Cause("attempts_used_up")
    try:
        assert isinstance(validate_message(incoming, HANDLERS[service], PRINCIPALS), Request)
    except Refused as refusal:
        Reply.of(refusal.problem())
        cause = Cause(refusal.code, detail=refusal.detail)
    _is_sent_on(incoming, cause)
    letter = read_letter(incoming)
    assert isinstance(letter, DeadLetter)
    assert CARD.encode() not in letter.body


def _is_sent_on(incoming: IncomingMessage, cause: Cause) -> None:
    assert encode.short_string(correlation_of(incoming))
    if (reply_to := incoming.reply_queue(isolated=False)) is not None:
        assert encode.short_string(reply_to)
    again, dead = RETRY.retry_copy(incoming, 1), RETRY.dead_copy(incoming, cause)
    for copy in (again, dead):
        encodable(copy.properties)
    assert CARD.encode() not in dead.body


@settings(max_examples=EXAMPLES, derandomize="CI" in os.environ)
@given(st.sampled_from(KEYS).flatmap(bodies))
@example(nested(500, b'"4111111111111111"', b"["))
def test_no_body_breaks_the_masking(body: bytes) -> None:
    assert CARD.encode() not in masked(body)
