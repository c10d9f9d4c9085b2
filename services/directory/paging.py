"""Pages of the lists, and the one place that keeps clients apart."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

from shared.errors import Refused
from shared.messaging.principals import ALL_CLIENTS
from shared.messaging.work import Work


def of_client(work: Work, column: InstrumentedAttribute[str]) -> list[ColumnElement[bool]]:
    """Only this client's rows; all of them in all-clients mode."""
    return [] if work.origin.client_id == ALL_CLIENTS else [column == work.origin.client_id]


def id_position(cursor: str) -> UUID:
    """Where a list by id goes on. Raises Refused: `cursor_invalid`."""
    try:
        return UUID(hex=cursor)
    except ValueError:
        raise _foreign() from None


def cursor_after(*keys: str) -> str:
    """The cursor of a list that goes on after these keys."""
    return urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=")


def position(cursor: str, length: int) -> list[str]:
    """The keys in a cursor. Raises Refused: `cursor_invalid`."""
    try:
        keys = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        raise _foreign() from None
    if not isinstance(keys, list) or len(keys) != length or not all(isinstance(key, str) for key in keys):
        raise _foreign()
    return keys


def _foreign() -> Refused:
    return Refused("cursor_invalid", "This cursor did not come from this list.")
