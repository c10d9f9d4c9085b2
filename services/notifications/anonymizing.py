"""Removing the personal data of mails when the customers service says so; docs/domain.md, "Removing personal data"."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from services.notifications.emails import event_fields, move
from services.notifications.models import Email, EmailAttemptRow, EmailChangeRow, NotificationsTables, Tombstone
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.notifications import EmailFailed, EmailState
from shared.contracts.personal import REMOVED, REMOVED_EMAIL
from shared.messaging.anonymization import anonymize_outbox, lock_for_removing
from shared.messaging.unit_of_work import UnitOfWork

_WAITING: Final = (EmailState.QUEUED, EmailState.HOLD)
_GIVEN_UP: Final = "The personal data of the customer were removed before the mail went out."


async def anonymize_emails(work: UnitOfWork, event: CustomerAnonymized) -> None:
    """The mails of these purchases say nothing any more; those that wait never go out, and no new ones are made."""
    if not event.reference_numbers:
        return
    await lock_for_removing(work.session, *event.reference_numbers)
    await work.session.execute(
        insert(Tombstone).on_conflict_do_nothing(),
        [{"reference_number": reference_number} for reference_number in event.reference_numbers],
    )
    emails = (
        await work.session.scalars(
            select(Email)
            .where(Email.client_id == work.context.client_id, Email.reference_number.in_(event.reference_numbers))
            .order_by(Email.id)
            .with_for_update()
        )
    ).all()
    now = (await work.session.execute(select(func.now()))).scalar_one()
    for email in emails:
        await _anonymize(work, email, now)
    ids: list[UUID] = [email.id for email in emails]
    await work.session.execute(update(EmailAttemptRow).where(EmailAttemptRow.email_id.in_(ids)).values(detail=None))
    await work.session.execute(
        update(EmailChangeRow)
        .where(EmailChangeRow.email_id.in_(ids), EmailChangeRow.reason.is_not(None))
        .values(reason=REMOVED)
    )
    await anonymize_outbox(
        work.session, NotificationsTables.outbox, event.reference_numbers, records=list(map(str, ids))
    )


async def _anonymize(work: UnitOfWork, email: Email, now: datetime) -> None:
    email.recipient = REMOVED_EMAIL
    email.subject = email.text = email.html = REMOVED
    email.bounce_reason = REMOVED if email.bounce_reason else None
    email.reason = None
    email.anonymized_at = now
    if email.standing in _WAITING:
        move(email, EmailState.FAILED, work.context.actor, now)
        email.bounce_reason = _GIVEN_UP
        failed = EmailFailed(**event_fields(email), reason=_GIVEN_UP)
        await work.publish(failed, order_key=email.id, subject=email.reference_number)
