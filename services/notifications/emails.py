"""Mails as people and events want them: made, held back, queued, sent at once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict
from uuid import UUID

from sqlalchemy import Executable, bindparam, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import defer

from services.notifications import domain, rendering
from services.notifications.domain import Action
from services.notifications.models import Email, EmailChangeRow, Tombstone
from services.notifications.rendering import Rendered
from services.notifications.senders import Sender, undo_window
from shared.contracts.notifications import (
    EmailAddressed,
    EmailChanged,
    EmailHeld,
    EmailQueued,
    EmailState,
    EmailType,
    HoldEmail,
    QueueEmail,
    SendEmail,
)
from shared.contracts.purchases import PaymentRecorded, RefundCompleted
from shared.contracts.refusals import Refused
from shared.ids import new_id
from shared.messaging.anonymization import lock_for_storing
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork

DISPATCH = "dispatch"
"""The job that sends what is due."""


def _store_unless_known() -> Executable:
    """The row of a new mail, unless its event has made one or its customer was anonymized; and its id.

    One statement for a question, another question and a row. Whoever removes data is waited for before it begins,
    as it sees the tombstones of its beginning.
    """
    table = Email.__table__
    given = [column for column in table.columns if column.default is None and column.server_default is None]
    names = ("id", "cc", "bcc", *(column.name for column in given if column.name not in _OF_SENDING))
    values = select(*(bindparam(name, type_=table.c[name].type) for name in names))
    return (
        insert(table)
        .from_select(names, values.where(~exists().where(Tombstone.reference_number == bindparam("reference_number"))))
        .on_conflict_do_nothing(index_elements=[table.c.source_message_id])
        .returning(table.c.id)
    )


_OF_SENDING: Final = frozenset(
    ("lease_token", "leased_until", "sent_at", "anonymized_at", "bounce_reason", "first_delayed_at")
)
_STORE: Final = _store_unless_known()


async def compose_receipt(work: UnitOfWork, event: PaymentRecorded, sender: Sender) -> UUID | None:
    """Queue the receipt of a purchase with the payment that completed its price; None for any other payment,
    and where the client wants no receipts.

    docs/domain.md, "E-mail types".
    """
    if not event.paid_in_full or EmailType.RECEIPT in sender.silent:
        return None
    rendered = rendering.render_receipt(event, sender.name, sender.languages, sender.look)
    return await _store(work, EmailType.RECEIPT, event, rendered, sender)


async def compose_refund_confirmation(work: UnitOfWork, event: RefundCompleted, sender: Sender) -> UUID | None:
    """Queue the confirmation of a refund; None where whoever wanted the refund wanted no mail,
    or the client wants none.

    docs/domain.md, "E-mail types".
    """
    if not event.notify_customer or EmailType.REFUND_CONFIRMATION in sender.silent:
        return None
    rendered = rendering.render_refund_confirmation(event, sender.name, sender.languages, sender.look)
    return await _store(work, EmailType.REFUND_CONFIRMATION, event, rendered, sender)


async def _store(
    work: UnitOfWork, kind: EmailType, event: PaymentRecorded | RefundCompleted, rendered: Rendered, sender: Sender
) -> UUID | None:
    row = _row(work.context, kind, event, rendered, sender)
    await lock_for_storing(work.session, event.reference_number)
    made: UUID | None = await work.session.scalar(_STORE, row)
    if made is None:
        known: UUID | None = await work.session.scalar(
            select(Email.id).where(
                Email.source_message_id == work.context.message_id,
                ~exists().where(Tombstone.reference_number == event.reference_number),
            )
        )
        return known
    queued = EmailQueued(
        email_id=made, reference_number=event.reference_number, email_type=kind, subject=rendered.subject
    )
    await work.publish(queued, order_key=made, subject=event.reference_number)
    work.wake(DISPATCH)
    return made


def _row(
    context: MessageContext,
    kind: EmailType,
    event: PaymentRecorded | RefundCompleted,
    rendered: Rendered,
    sender: Sender,
) -> dict[str, Any]:
    """What is stored of a new mail."""
    if context.message_id is None:
        raise ValueError("a mail is made for an event, and events have ids")
    recipient = event.billing_contact.email
    cc = _others(sender.cc, recipient)
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
        "bcc": _others(sender.bcc, recipient, *cc),
        "subject": rendered.subject,
        "text": rendered.text,
        "html": rendered.html,
        "message_id_header": sender.message_id(context.message_id, kind),
        "source_message_id": context.message_id,
        "created_by": context.actor,
        "changed_by": context.actor,
        **_wanted_by(context),
    }


def _others(addresses: Sequence[str], *named: str) -> list[str]:
    """Addresses that do not get the mail anyway."""
    known = {address.casefold() for address in named}
    return [address for address in addresses if address.casefold() not in known]


async def hold_email(work: UnitOfWork, command: HoldEmail) -> EmailChanged:
    """Keep a mail from going out until somebody queues or sends it."""
    email, now = await _wanted(work, command, Action.HOLD)
    _change(work, email, Action.HOLD, EmailState.HOLD, now)
    await work.publish(EmailHeld(**event_fields(email)), order_key=email.id, subject=email.reference_number)
    return _changed(email)


async def queue_email(work: UnitOfWork, command: QueueEmail) -> EmailChanged:
    """Let a mail go out, or go out once more, after the undo window. docs/domain.md, "E-mail states"."""
    return await _queue(work, command, Action.QUEUE, await undo_window(work))


async def send_email(work: UnitOfWork, command: SendEmail) -> EmailChanged:
    """Let a mail go out, or go out once more, at once."""
    return await _queue(work, command, Action.SEND, timedelta(0))


async def _queue(work: UnitOfWork, command: EmailAddressed, action: Action, wait: timedelta) -> EmailChanged:
    email, now = await _wanted(work, command, action)
    _change(work, email, action, EmailState.QUEUED, now)
    email.due_at = now + wait
    email.delays, email.first_delayed_at, email.bounce_reason = 0, None, None
    await work.publish(EmailQueued(**event_fields(email)), order_key=email.id, subject=email.reference_number)
    if not wait:
        work.wake(DISPATCH)
    return _changed(email)


async def _wanted(work: UnitOfWork, command: EmailAddressed, action: Action) -> tuple[Email, datetime]:
    """The mail, locked, if the action is possible; refuses with the reason otherwise."""
    statement = (
        select(Email, func.now())
        .where(Email.id == command.email_id, Email.client_id == work.context.client_id)
        .with_for_update()
        .options(defer(Email.text, raiseload=True), defer(Email.html, raiseload=True))
    )
    found = (await work.session.execute(statement)).one_or_none()
    if found is None:
        raise Refused("email_not_found", "There is no such mail.", email_id=str(command.email_id))
    email, now = found
    if command.expected_version not in (None, email.version):
        raise Refused(
            "version_conflict",
            "Somebody changed the mail in the meantime.",
            version=email.version,
            state=email.state,
            changed_by=email.changed_by,
            changed_at=email.changed_at.isoformat(),
        )
    if no := domain.obstacle(action, email.standing, is_anonymized=email.anonymized_at is not None):
        raise Refused(no.code, no.words, state=email.state, version=email.version)
    return email, now


def move(email: Email, state: EmailState, actor: str, now: datetime) -> None:
    """Put a mail into another state. Raises ValueError for a move that the rules do not know."""
    if not domain.may_become(email.standing, state):
        raise ValueError(f"a mail cannot go from {email.state} to {state.value}")
    email.state = state.value
    email.version += 1
    email.changed_by = actor
    email.changed_at = now


def _wanted_by(context: MessageContext) -> dict[str, Any]:
    """Whoever wanted the mail last stands behind what is published about it from now on."""
    return {
        "correlation_id": context.correlation_id,
        "causation_id": context.message_id,
        "traceparent": context.traceparent,
        "actor": context.actor,
        "reason": context.reason,
    }


def _change(work: UnitOfWork, email: Email, action: Action, state: EmailState, now: datetime) -> None:
    """Move a mail as somebody wants it, and keep who it was and why."""
    for name, value in _wanted_by(work.context).items():
        setattr(email, name, value)
    move(email, state, work.context.actor, now)
    work.session.add(
        EmailChangeRow(
            email_id=email.id,
            version=email.version,
            at=now,
            action=action.value,
            actor=work.context.actor,
            reason=work.context.reason,
        )
    )


class _EventFields(TypedDict):
    email_id: UUID
    reference_number: str
    email_type: EmailType
    subject: str


def event_fields(email: Email) -> _EventFields:
    """What every event about a mail says."""
    return {
        "email_id": email.id,
        "reference_number": email.reference_number,
        "email_type": email.kind,
        "subject": email.subject,
    }


def _changed(email: Email) -> EmailChanged:
    return EmailChanged(email_id=email.id, state=email.standing, version=email.version)
