"""Tables of the error log."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, desc, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from services.errorlog.rules import LONGEST_SUBJECT
from shared.contracts.errorlog import ErrorState
from shared.database import ServiceTables, Stamped
from shared.ids import new_id

IS_OPEN = "state = 'open'"
"""Condition of the unique index, word for word, so that an insert can name it."""


class ErrorlogTables(ServiceTables):
    """Root of the tables of this service."""

    __abstract__ = True


class ErrorEntry(Stamped, ErrorlogTables):
    """One trouble: a business error or a message that could not be handled, with all its repeats while it is open."""

    __tablename__ = "error_entry"
    __table_args__ = (
        CheckConstraint("source IN ('raised', 'dead_letter')", name="source"),
        CheckConstraint("state IN ('open', 'done')", name="state"),
        CheckConstraint("occurrences > 0", name="occurrences"),
        CheckConstraint("item_number > 0", name="item_number"),
        CheckConstraint("reference_number ~ '^[1-9][0-9]{8}$'", name="reference_number"),
        CheckConstraint("first_seen <= last_seen", name="seen_in_order"),
        CheckConstraint("(state = 'done') = (completed_at IS NOT NULL)", name="done_has_a_time"),
        CheckConstraint("(completed_at IS NULL) = (completed_by IS NULL)", name="done_has_an_actor"),
        Index("uq_error_entry_open", "client_id", "same_trouble", unique=True, postgresql_where=text(IS_OPEN)),
        Index("ix_error_entry_client_id_state", "client_id", "state", desc("id")),
        Index("ix_error_entry_state", "state", desc("id")),
        Index("ix_error_entry_reference_number", "reference_number", desc("id")),
        Index("ix_error_entry_fingerprint", "fingerprint", desc("id")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    client_id: Mapped[str] = mapped_column(String(63))
    """Whose error it is; `platform` for what belongs to no client."""
    source: Mapped[str] = mapped_column(String(20))
    error_type: Mapped[str] = mapped_column(String(64))
    title: Mapped[str] = mapped_column(String(255))
    note: Mapped[str | None] = mapped_column(Text)
    reference_number: Mapped[str | None] = mapped_column(String(9))
    item_number: Mapped[int | None]
    client_handles_error: Mapped[bool] = mapped_column(default=False)
    service: Mapped[str] = mapped_column(String(63))
    """Where it arose."""
    fingerprint: Mapped[str] = mapped_column(String(64))
    """Its cause: errors with the same cause have the same fingerprint, whatever purchase they concern."""
    same_trouble: Mapped[str] = mapped_column(String(64))
    """What must be equal for a repeat to be counted here instead of becoming an entry of its own."""
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    state: Mapped[str] = mapped_column(String(10), default=ErrorState.OPEN.value)
    occurrences: Mapped[int] = mapped_column(default=1)
    first_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    message_id: Mapped[UUID | None]
    """The first message that told of it."""
    correlation_id: Mapped[str | None] = mapped_column(String(255))
    completed_by: Mapped[str | None] = mapped_column(String(255))
    completed_at: Mapped[datetime | None]
    completion_note: Mapped[str | None] = mapped_column(Text)
    completion_reason: Mapped[str | None] = mapped_column(Text)


class FailedMessage(ErrorlogTables):
    """A message that could not be handled, kept so that it can be handled again. Card numbers are masked."""

    __tablename__ = "failed_message"
    __table_args__ = (
        CheckConstraint("attempts >= 0", name="attempts"),
        CheckConstraint("octet_length(body) <= 262144", name="body_size"),
        Index("ix_failed_message_error_id", "error_id", desc("id")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    error_id: Mapped[UUID] = mapped_column(ForeignKey("error_entry.id", ondelete="CASCADE"))
    death: Mapped[str] = mapped_column(String(64), unique=True)
    """Hash of what makes this death one of its kind: the broker may deliver a dead letter twice."""
    queue: Mapped[str] = mapped_column(String(255))
    exchange: Mapped[str] = mapped_column(String(255))
    routing_key: Mapped[str] = mapped_column(String(255))
    sender: Mapped[str] = mapped_column(String(255))
    """The broker user that sent it."""
    message_id: Mapped[UUID | None]
    correlation_id: Mapped[str | None] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(String(64))
    attempts: Mapped[int]
    died_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    headers: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    body: Mapped[bytes]
    body_bytes: Mapped[int]
    """Size as it came; larger than what is kept if the message was too large."""


class Tombstone(ErrorlogTables):
    """A purchase, an order or a customer about which nothing personal is kept any more; see `anonymize.py`."""

    __tablename__ = "tombstone"

    subject: Mapped[str] = mapped_column(String(LONGEST_SUBJECT), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
