"""Tables of the notifications service."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, desc, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from services.notifications.dispatch.rules import Outcome
from shared.contracts.notifications import EmailState
from shared.database import ServiceTables, Stamped
from shared.ids import new_id
from shared.messaging.leased_job import Leased
from shared.staff.tables import client_table

TO_DISPATCH = "state IN ('queued', 'sending')"
"""What the dispatcher looks at: the condition of its index, word for word."""


class NotificationsTables(ServiceTables):
    """Root of the tables of this service."""

    __abstract__ = True


client_copy = client_table(NotificationsTables.metadata)


class Email(Stamped, Leased, NotificationsTables):
    """A mail, rendered once: what is shown, held, sent and sent again is what stands here."""

    __tablename__ = "email"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'hold', 'sending', 'sent', 'bounced', 'failed')", name="state"),
        CheckConstraint("email_type ~ '^[A-Z]{3}_CU$'", name="email_type"),
        CheckConstraint("reference_number ~ '^[1-9][0-9]{8}$'", name="reference_number"),
        CheckConstraint("subject !~ '[[:cntrl:]]'", name="subject_is_one_line"),
        CheckConstraint("(state = 'sending') = (lease_token IS NOT NULL)", name="sending_is_leased"),
        CheckConstraint("state <> 'sent' OR sent_at IS NOT NULL", name="sent_has_a_time"),
        Index("ix_email_to_dispatch", "due_at", postgresql_where=text(TO_DISPATCH)),
        Index("ix_email_reference_number", "reference_number", desc("id")),
        Index("ix_email_client_id_state", "client_id", "state", desc("id")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    client_id: Mapped[str] = mapped_column(String(63))
    reference_number: Mapped[str] = mapped_column(String(9))
    email_type: Mapped[str] = mapped_column(String(10))
    state: Mapped[str] = mapped_column(String(10), default=EmailState.QUEUED.value)
    language: Mapped[str] = mapped_column(String(2))
    sender_name: Mapped[str] = mapped_column(String(255))
    sender_address: Mapped[str] = mapped_column(String(254))
    recipient: Mapped[str] = mapped_column(String(254))
    cc: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=text("'[]'"))
    bcc: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=text("'[]'"))
    """The client's own addresses, as set when the mail was made. Bcc is in no header."""
    subject: Mapped[str] = mapped_column(String(255))
    text: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)
    message_id_header: Mapped[str] = mapped_column(String(255), unique=True)
    source_message_id: Mapped[UUID] = mapped_column(unique=True)
    """The event the mail was made for: one event makes one mail, however often it comes."""
    sent_at: Mapped[datetime | None]
    anonymized_at: Mapped[datetime | None]
    """Since when it tells of nobody; it never goes out any more."""
    bounce_reason: Mapped[str | None] = mapped_column(Text)
    delays: Mapped[int] = mapped_column(default=0)
    """Tries without success since the mail was last queued by somebody."""
    first_delayed_at: Mapped[datetime | None]
    correlation_id: Mapped[str] = mapped_column(String(255))
    causation_id: Mapped[UUID | None]
    traceparent: Mapped[str | None] = mapped_column(String(55))
    actor: Mapped[str] = mapped_column(String(255))
    """Who wanted the mail, or wanted it again: carried on into what is published about it."""

    reason: Mapped[str | None] = mapped_column(Text)
    """Why, in the words of whoever wanted it; carried on like the actor."""

    attempt_rows: Mapped[list["EmailAttemptRow"]] = relationship(
        lazy="raise", order_by="EmailAttemptRow.number", passive_deletes="all"
    )

    change_rows: Mapped[list["EmailChangeRow"]] = relationship(
        lazy="raise", order_by="EmailChangeRow.version", passive_deletes="all"
    )


class EmailAttemptRow(NotificationsTables):
    """One try to hand a mail to the SMTP server; written before the try, so `unknown` until the answer is there."""

    __tablename__ = "email_attempt"
    __table_args__ = (
        CheckConstraint("outcome IN ('accepted', 'transient', 'permanent', 'unknown')", name="outcome"),
        CheckConstraint("number > 0", name="number"),
        CheckConstraint("smtp_code BETWEEN 200 AND 599", name="smtp_code"),
    )

    email_id: Mapped[UUID] = mapped_column(ForeignKey("email.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    outcome: Mapped[str] = mapped_column(String(10), default=Outcome.UNKNOWN.value)
    smtp_code: Mapped[int | None]
    detail: Mapped[str | None] = mapped_column(Text)


class EmailChangeRow(NotificationsTables):
    """Somebody held, queued or sent a mail: who, when, why."""

    __tablename__ = "email_change"
    __table_args__ = (CheckConstraint("action IN ('hold', 'queue', 'send')", name="action"),)

    email_id: Mapped[UUID] = mapped_column(ForeignKey("email.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    action: Mapped[str] = mapped_column(String(10))
    actor: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str | None] = mapped_column(Text)


class Tombstone(NotificationsTables):
    """A purchase whose customer was anonymized: late messages about it make no mail."""

    __tablename__ = "tombstone"

    reference_number: Mapped[str] = mapped_column(String(9), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
