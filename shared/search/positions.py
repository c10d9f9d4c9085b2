"""Where a page of a search ended, as the bytes of its cursor. Pure."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT: Final = struct.Struct(">q")
_ID_BYTES: Final = 16


def written(values: Sequence[Any]) -> bytes:
    """Moments, ids and at most one text, which goes to the end, as it alone has no length of its own."""
    return b"".join(map(_bytes, sorted(values, key=lambda value: isinstance(value, str))))


def read(raw: bytes, types: Sequence[type]) -> tuple[Any, ...]:
    """The values of these types, in this order, of a position that was `written`."""
    values: dict[int, Any] = {}
    for place in sorted(range(len(types)), key=lambda place: types[place] is str):
        values[place], raw = _value(raw, types[place])
    return tuple(values[place] for place in range(len(types)))


def _bytes(value: datetime | UUID | str) -> bytes:
    if isinstance(value, datetime):
        return _MOMENT.pack((value - _EPOCH) // timedelta(microseconds=1))
    return value.bytes if isinstance(value, UUID) else value.encode()


def _value(raw: bytes, wanted: type) -> tuple[datetime | UUID | str, bytes]:
    """The value at the beginning, and the rest."""
    if wanted is str:
        return raw.decode(), b""
    if wanted is UUID:
        return UUID(bytes=raw[:_ID_BYTES]), raw[_ID_BYTES:]
    (microseconds,) = _MOMENT.unpack(raw[: _MOMENT.size])
    return _EPOCH + timedelta(microseconds=microseconds), raw[_MOMENT.size :]
