"""Where a page of a list ended, as text for the next request."""

import base64
import binascii
import hashlib
from typing import Final

from shared.errors import Refused

_CHECK_BYTES: Final = 8


def sealed(position: bytes, *words: str) -> str:
    """A cursor that belongs to these words only. It protects nobody's data, which the statements do; it catches
    mix-ups."""
    return base64.urlsafe_b64encode(_check(position, words) + position).rstrip(b"=").decode()


def opened(cursor: str, *words: str) -> bytes:
    """The position in a cursor. Raises Refused `cursor_invalid`."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    check, position = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    if check != _check(position, words):
        raise Refused("cursor_invalid", "The cursor does not belong to this list.")
    return position


def _check(position: bytes, words: tuple[str, ...]) -> bytes:
    return hashlib.sha256("\n".join(words).encode() + b"\x00" + position).digest()[:_CHECK_BYTES]
