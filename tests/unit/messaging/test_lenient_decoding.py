"""Properties as no well-behaved sender writes them."""

import struct
from datetime import UTC, datetime

import pytest
from pamqp import encode, frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from shared.messaging.inbound.lenient_decoding import read_headers, read_leniently, read_short_text, read_timestamp


def test_text_that_is_no_utf8_is_read_and_seen_to_be_wrong() -> None:
    assert read_short_text(b"\x03a\xffbREST") == (4, "a\x1ab")
    assert read_short_text(b"\x00REST") == (1, "")


@pytest.mark.parametrize(
    "text", [b"\xff" * 255, b"\xc3(" * 127, b"\xf0\x9f" * 127, b"a" * 254 + b"\xff", "\ufffd".encode() * 85]
)
def test_a_text_does_not_grow_by_being_read(text: bytes) -> None:
    """Three bytes for one made 765 of 255; sent on as reply_to or correlation_id they ended the task that sent them."""
    end, read = read_short_text(bytes([len(text)]) + text)
    assert end == 1 + len(text)
    assert len(read.encode()) <= len(text)
    assert not read.isprintable() or read == text.decode()
    assert encode.short_string(read)


@pytest.mark.parametrize("seconds", [2**63, 2**64 - 1, 2**62])
def test_a_moment_no_calendar_has_counts_as_none(seconds: int) -> None:
    assert read_timestamp(struct.pack(">Q", seconds)) == (8, None)


def test_a_real_moment_is_kept() -> None:
    assert read_timestamp(struct.pack(">Q", 1_700_000_000)) == (8, datetime.fromtimestamp(1_700_000_000, UTC))


def test_headers_that_cannot_be_read_count_as_none() -> None:
    entries = b"\x01\xff" + b"t\x01"
    table = struct.pack(">I", len(entries)) + entries
    assert read_headers(table + b"REST") == (len(table), {})


def test_headers_nested_beyond_reason_count_as_none() -> None:
    entries = b""
    for _ in range(3000):
        entries = b"\x01aF" + struct.pack(">I", len(entries)) + entries
    table = struct.pack(">I", len(entries)) + entries
    assert read_headers(table) == (len(table), {})


def test_what_follows_an_odd_property_is_still_read() -> None:
    read_leniently()
    good = ContentHeader(0, 1, Basic.Properties(message_id="ab", reply_to="cd", headers={"x": "y"}))
    raw = frame.marshal(good, 1).replace(encode.short_string("ab"), b"\x02\xff\xfe")
    _, _, read = frame.unmarshal(raw)
    assert isinstance(read, ContentHeader)
    assert read.properties.message_id == "\x1a\x1a"
    assert read.properties.reply_to == "cd"
    assert read.properties.headers == {"x": "y"}
