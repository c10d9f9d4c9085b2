"""Where a page of a list ended, as text for the next request."""

import base64
import binascii
import hashlib
from typing import ClassVar, Final, Protocol
from uuid import UUID

from shared.contracts.refusals import Refused
from shared.messaging.unit_of_work import UnitOfWork

_CHECK_BYTES: Final = 8


class ListQuery(Protocol):
    """A query that is answered page by page."""

    key: ClassVar[str]

    @property
    def cursor(self) -> str | None: ...

    @property
    def limit(self) -> int: ...

    def model_dump_json(self, *, exclude: set[str]) -> str: ...


def cursor_after(position: bytes, work: UnitOfWork, query: ListQuery) -> str:
    """A cursor that goes on behind this position, in this client's list and for what was asked only.

    It protects nobody's data, which the statements do; it catches mix-ups.
    """
    return _text(_check(position, work, query) + position)


def cursor_position(work: UnitOfWork, query: ListQuery) -> bytes | None:
    """The position in the cursor of a query, if it has one. Raises Refused `cursor_invalid`."""
    cursor = query.cursor
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        raise _foreign() from None
    check, position = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    # The last character of base64 may have bits that mean nothing: other texts would read as the same position.
    if check != _check(position, work, query) or cursor != _text(raw):
        raise _foreign()
    return position


def cursor_id(work: UnitOfWork, query: ListQuery) -> UUID | None:
    """The id behind which a list by id goes on. Raises Refused `cursor_invalid`."""
    position = cursor_position(work, query)
    return UUID(bytes=position) if position is not None else None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _check(position: bytes, work: UnitOfWork, query: ListQuery) -> bytes:
    asked = query.model_dump_json(exclude={"cursor", "limit"})
    words = "\n".join((work.context.client_id, query.key, asked)).encode()
    return hashlib.sha256(words + b"\x00" + position).digest()[:_CHECK_BYTES]


def _foreign() -> Refused:
    return Refused("cursor_invalid", "The cursor does not belong to this list.")
