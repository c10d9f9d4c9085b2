"""The rows of mails: adding, locking and changing them, and what every change ends with."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypedDict
from uuid import UUID

from sqlalchemy import Executable, Row, bindparam, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import defer

from services.notifications.email.rules import Action, Mail, may_become
from services.notifications.email.sender import Sender
from services.notifications.models import Email, EmailAttemptRow, EmailChangeRow, NotificationsTables, Tombstone
from services.notifications.rendering.render import Rendered
from shared.contracts.message import Event
from shared.contracts.notifications import EmailAddressed, EmailChanged, EmailState, EmailType
from shared.contracts.personal import REMOVED
from shared.contracts.purchases import PaymentRecorded, RefundCompleted
from shared.contracts.refusals import Refused
from shared.ids import new_id
from shared.messaging.anonymization import anonymize_outbox, lock_for_removing, lock_for_storing
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import check_version, touch

DISPATCH: Final = "dispatch"
"""The job that sends what is due."""
_WITHOUT_CONTENT: Final = (defer(Email.text, raiseload=True), defer(Email.html, raiseload=True))


class EventFields(TypedDict):
    """What every event about a mail says."""

    email_id: UUID
    reference_number: str
    email_type: EmailType
    subject: str


def event_fields(email: Email) -> EventFields:
    """What every event about this mail says."""
    return {
        "email_id": email.id,
        "reference_number": email.reference_number,
        "email_type": EmailType(email.email_type),
        "subject": email.subject,
    }


def rule_view(email: Email) -> Mail:
    """What the rules want to know of a mail."""
    return Mail(EmailState(email.state), email.version, email.anonymized_at is not None)


async def lock_email(
    work: UnitOfWork, command: EmailAddressed, check: Callable[[Mail], None]
) -> tuple[Email, datetime]:
    """The mail that a command is about, locked, if the check allows the change now; with the time.

    Raises Refused `email_not_found`, `version_conflict` and what the check raises.
    """
    statement = (
        select(Email, func.now())
        .where(Email.id == command.email_id, Email.client_id == work.context.client_id)
        .with_for_update()
        .options(*_WITHOUT_CONTENT)
    )
    found = (await work.session.execute(statement)).one_or_none()
    if found is None:
        raise email_not_found(command.email_id)
    email, now = found
    check_version(email, command.expected_version, state=email.state)
    check(rule_view(email))
    return email, now


def email_not_found(email_id: UUID) -> Refused:
    """The refusal for a mail that is not there, or is another client's: the two look the same."""
    return Refused("email_not_found", "There is no such mail.", email_id=str(email_id))


async def close_change(
    work: UnitOfWork,
    email: Email,
    state: EmailState,
    *,
    at: datetime,
    action: Action | None = None,
    events: Iterable[Event] = (),
    context: MessageContext | None = None,
) -> EmailChanged:
    """End a change of a mail: its state, new version, who and when, and what is told of it. Returns the reply.

    Whoever takes an `action` stands in the mail's history, and behind what is published about it from then on.
    `context` is in whose name the events are published, if not in that of this piece of work.
    Raises ValueError for a move that the rules do not know.
    """
    if not may_become(EmailState(email.state), state):
        raise ValueError(f"a mail cannot go from {email.state} to {state.value}")
    email.state = state.value
    touch(work, email, at=at)
    if action is not None:
        _add_entry(work, email, action)
    told = work if context is None else replace(work, context=context)
    for event in events:
        await told.publish(event, order_key=email.id, subject=email.reference_number)
    return EmailChanged(email_id=email.id, state=state, version=email.version)


def _add_entry(work: UnitOfWork, email: Email, action: Action) -> None:
    for name, value in _wanted_by(work.context).items():
        setattr(email, name, value)
    entry = EmailChangeRow(
        email_id=email.id,
        version=email.version,
        at=email.changed_at,
        action=action.value,
        actor=work.context.actor,
        reason=work.context.reason,
    )
    work.session.add(entry)


def _wanted_by(context: MessageContext) -> dict[str, Any]:
    """Whoever wanted the mail last stands behind what is published about it from now on."""
    return {
        "correlation_id": context.correlation_id,
        "causation_id": context.message_id,
        "traceparent": context.traceparent,
        "actor": context.actor,
        "reason": context.reason,
    }


def context_of(email: Email | Row[Any]) -> MessageContext:
    """Whoever wanted this mail last: in their name is published what becomes of it."""
    return MessageContext(
        client_id=email.client_id,
        actor=email.actor,
        message_id=email.causation_id,
        correlation_id=email.correlation_id,
        traceparent=email.traceparent,
        reason=email.reason,
    )


async def add_email(
    work: UnitOfWork, kind: EmailType, event: PaymentRecorded | RefundCompleted, rendered: Rendered, sender: Sender
) -> UUID | None:
    """Store a new mail and return its id; None if its event has made one already or its customer was anonymized."""
    row = _new_row(work.context, kind, event, rendered, sender)
    await lock_for_storing(work.session, event.reference_number)
    made: UUID | None = await work.session.scalar(_ADD_EMAIL, row)
    return made


async def find_email_of(work: UnitOfWork, reference_number: str) -> UUID | None:
    """The mail that this very event has made already, unless its customer was anonymized."""
    statement = select(Email.id).where(Email.source_message_id == work.context.message_id, ~_is_forgotten())
    found: UUID | None = await work.session.scalar(statement, {"reference_number": reference_number})
    return found


def _new_row(
    context: MessageContext,
    kind: EmailType,
    event: PaymentRecorded | RefundCompleted,
    rendered: Rendered,
    sender: Sender,
) -> dict[str, Any]:
    if context.message_id is None:
        raise ValueError("a mail is made for an event, and events have ids")
    recipient = event.billing_contact.email
    cc, bcc = sender.copies(recipient)
    return {
        "id": new_id(),
        "client_id": context.client_id,
        "reference_number": event.reference_number,
        "email_type": kind.value,
        "language": rendered.language,
        "sender_name": sender.name,
        "sender_address": sender.address,
        "recipient": recipient,
        "cc": cc,
        "bcc": bcc,
        "subject": rendered.subject,
        "text": rendered.text,
        "html": rendered.html,
        "message_id_header": sender.message_id(context.message_id, kind),
        "source_message_id": context.message_id,
        "created_by": context.actor,
        "changed_by": context.actor,
        **_wanted_by(context),
    }


async def forget_purchases(work: UnitOfWork, reference_numbers: Sequence[str]) -> None:
    """From now on no mail is made for these purchases; whoever is just making one is waited for."""
    await lock_for_removing(work.session, *reference_numbers)
    await work.session.execute(
        insert(Tombstone).on_conflict_do_nothing(),
        [{"reference_number": reference_number} for reference_number in reference_numbers],
    )


async def lock_emails_of(work: UnitOfWork, reference_numbers: Sequence[str]) -> Sequence[tuple[Email, datetime]]:
    """Every mail of these purchases, locked, each with the time."""
    statement = (
        select(Email, func.now())
        .where(Email.client_id == work.context.client_id, Email.reference_number.in_(reference_numbers))
        .order_by(Email.id)
        .with_for_update()
    )
    return [(email, now) for email, now in await work.session.execute(statement)]


async def anonymize_history(work: UnitOfWork, ids: Sequence[UUID], reference_numbers: Sequence[str]) -> None:
    """What servers and people said about these mails goes, and what waits to be sent about these purchases."""
    await work.session.execute(update(EmailAttemptRow).where(EmailAttemptRow.email_id.in_(ids)).values(detail=None))
    await work.session.execute(
        update(EmailChangeRow)
        .where(EmailChangeRow.email_id.in_(ids), EmailChangeRow.reason.is_not(None))
        .values(reason=REMOVED)
    )
    outbox = NotificationsTables.outbox
    await anonymize_outbox(work.session, outbox, reference_numbers, records=list(map(str, ids)))


def _is_forgotten() -> Any:
    return exists().where(Tombstone.reference_number == bindparam("reference_number"))


def _add_email() -> Executable:
    """The row of a new mail, unless its event has made one or its customer was anonymized; and its id.

    One statement for a question, another question and a row. Whoever removes data is waited for before it begins,
    as it sees the tombstones of its beginning.
    """
    table = Email.__table__
    compulsory = [column for column in table.columns if column.default is None and column.server_default is None]
    names = ("id", "cc", "bcc", *(column.name for column in compulsory if column.name not in _OF_SENDING))
    values = select(*(bindparam(name, type_=table.c[name].type) for name in names))
    return (
        insert(table)
        .from_select(names, values.where(~_is_forgotten()))
        .on_conflict_do_nothing(index_elements=[table.c.source_message_id])
        .returning(table.c.id)
    )


_OF_SENDING: Final = frozenset(
    ("lease_token", "leased_until", "sent_at", "anonymized_at", "bounce_reason", "first_delayed_at")
)
_ADD_EMAIL: Final = _add_email()
