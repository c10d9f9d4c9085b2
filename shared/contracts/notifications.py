"""What the notifications service receives, answers and publishes."""

from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import model_validator

from shared.contracts.message import Command, Data, Event, Query
from shared.contracts.values import (
    AllowedAction,
    Cursor,
    EmailAddress,
    Language,
    Line,
    Moment,
    PageSize,
    ReferenceNumber,
    Version,
)


class EmailType(StrEnum):
    """docs/domain.md, "E-mail types"."""

    RECEIPT = "REC_CU"
    REFUND_CONFIRMATION = "REF_CU"


class EmailState(StrEnum):
    QUEUED = "queued"
    """Goes out by itself."""
    HOLD = "hold"
    """Never goes out unless somebody queues or sends it."""
    SENDING = "sending"
    """Being handed to the SMTP server."""
    SENT = "sent"
    BOUNCED = "bounced"
    """The receiving side refused it for good; see `bounce_reason`."""
    FAILED = "failed"
    """Given up: the SMTP server would not take it in time."""


class EmailChanged(Data):
    email_id: UUID
    state: EmailState
    version: Version


class EmailAddressed(Command):
    email_id: UUID
    expected_version: Version | None = None


class HoldEmail(EmailAddressed, key="notifications.email.hold.v1", reply=EmailChanged):
    """Keep a queued mail from going out until it is queued or sent."""


class QueueEmail(EmailAddressed, key="notifications.email.queue.v1", reply=EmailChanged):
    """Let a held mail go out by itself, or send a mail that was sent or bounced once more."""


class SendEmail(EmailAddressed, key="notifications.email.send.v1", reply=EmailChanged):
    """Send a mail at once."""


class EmailRow(Data):
    email_id: UUID
    reference_number: ReferenceNumber
    email_type: EmailType
    state: EmailState
    version: Version
    to: EmailAddress
    subject: str
    language: Language
    created_at: Moment
    due_at: Moment
    sent_at: Moment | None
    bounce_reason: str | None


class EmailPage(Data):
    rows: tuple[EmailRow, ...]
    next_cursor: str | None


class ListEmails(Query, key="notifications.email.list.v1", reply=EmailPage):
    """The mails of one purchase, or those in one state; newest first."""

    reference_number: ReferenceNumber | None = None
    state: EmailState | None = None
    limit: PageSize = 25
    cursor: Cursor | None = None

    @model_validator(mode="after")
    def _narrowed(self) -> Self:
        if self.reference_number is None and self.state is None:
            raise ValueError("give reference_number, state or both")
        return self


class EmailAttempt(Data):
    number: int
    at: Moment
    outcome: str
    detail: str | None


class EmailChange(Data):
    """Somebody held, queued or sent the mail."""

    version: Version
    """Of the mail, from then on."""
    at: Moment
    action: str
    """`hold`, `queue` or `send`."""
    actor: str
    reason: str | None
    """Why, if the message had a header `reason`."""


class EmailView(EmailRow):
    message_id_header: str
    """The Message-ID under which every copy of this mail travels."""
    sender: str
    cc: tuple[EmailAddress, ...] = ()
    bcc: tuple[EmailAddress, ...] = ()
    """The client's own addresses that get a copy; Bcc stands in no header of the mail."""
    text: str
    html: str
    attempts: tuple[EmailAttempt, ...]
    changes: tuple[EmailChange, ...] = ()
    """By people and other services, oldest first."""
    actions: tuple[AllowedAction, ...]


class GetEmail(Query, key="notifications.email.get.v1", reply=EmailView):
    """One mail exactly as it was or will be sent."""

    email_id: UUID


class EmailEvent(Event):
    email_id: UUID
    reference_number: ReferenceNumber
    email_type: EmailType
    subject: Line


class EmailQueued(EmailEvent, key="notifications.email.queued.v1"):
    """A mail has been rendered and will go out by itself."""


class EmailHeld(EmailEvent, key="notifications.email.held.v1"):
    """A mail has been stopped until somebody queues or sends it."""


class EmailSent(EmailEvent, key="notifications.email.sent.v1"):
    """The SMTP server has accepted a mail."""

    sent_at: Moment
    attempt: int


class EmailBounced(EmailEvent, key="notifications.email.bounced.v1"):
    """The receiving side refused a mail for good."""

    reason: str


class EmailFailed(EmailEvent, key="notifications.email.failed.v1"):
    """A mail was given up after its last attempt."""

    reason: str
