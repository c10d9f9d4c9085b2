"""What the broker delivers is read tolerantly: one odd property must not end the connection of a whole service.

AMQP promises UTF-8 in short strings and seconds in timestamps; the broker passes on whatever bytes a sender put
there. pamqp raises on them, aiormq then drops the connection, the broker delivers the same message again, and so on
until its delivery limit: fifty reconnects, in which nothing else is handled. Here such a value is read as one that
admission refuses, so that the sender gets its problem reply and the next message its turn. It never becomes longer than
it came: some properties are sent on, and a short string has 255 bytes.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from pamqp import decode

Decoder = Callable[[bytes], tuple[int, Any]]
_TIMESTAMP_BYTES: Final = 8
_LENGTH_BYTES: Final = 4
SUBSTITUTE: Final = "\x1a"
"""In the place of bytes that are no text: ASCII's own character for this. U+FFFD would take three bytes for one."""
_timestamp: Final[Decoder] = decode.METHODS["timestamp"]
_table: Final[Decoder] = decode.METHODS["table"]


def read_leniently() -> None:
    """Let this process read properties that break the promise. Doing it again changes nothing."""
    decode.METHODS["shortstr"] = read_short_text
    decode.METHODS["timestamp"] = read_timestamp
    decode.METHODS["table"] = read_headers


def read_short_text(value: bytes) -> tuple[int, str]:
    """A short string; in the place of bytes that are no text stands a character that no id or name of ours may hold."""
    end = 1 + value[0]
    try:
        return end, value[1:end].decode("utf-8")
    except UnicodeDecodeError:
        return end, value[1:end].decode("utf-8", "replace").replace("\ufffd", SUBSTITUTE)


def read_timestamp(value: bytes) -> tuple[int, datetime | None]:
    """A moment; None for one that no calendar has."""
    try:
        return _timestamp(value)
    except (ValueError, OverflowError, OSError):
        return _TIMESTAMP_BYTES, None


def read_headers(value: bytes) -> tuple[int, dict[str, Any]]:
    """The headers; none if one of them cannot be read, so that the message names no client and is refused."""
    try:
        return _table(value)
    except Exception:  # noqa: BLE001 - whatever pamqp stumbles over, its length tells where the next property begins
        return _LENGTH_BYTES + int.from_bytes(value[:_LENGTH_BYTES], "big"), {}
