"""Ids of records and messages."""

from uuid import UUID

import uuid_utils.compat


def new_id() -> UUID:
    """A new UUIDv7: unique, and ordered by time."""
    return uuid_utils.compat.uuid7()
