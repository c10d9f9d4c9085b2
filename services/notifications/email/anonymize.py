"""Removing the personal data of mails when the customers service says so; docs/domain.md, "Removing personal data"."""

from datetime import datetime
from typing import Final

from services.notifications.email.store import (
    anonymize_history,
    close_change,
    event_fields,
    forget_purchases,
    lock_emails_of,
)
from services.notifications.models import Email
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.notifications import EmailFailed, EmailState
from shared.contracts.personal import REMOVED, REMOVED_EMAIL
from shared.messaging.unit_of_work import UnitOfWork

_WAITING: Final = (EmailState.QUEUED, EmailState.HOLD)
_GIVEN_UP: Final = "The personal data of the customer were removed before the mail went out."


async def anonymize_emails(work: UnitOfWork, event: CustomerAnonymized) -> None:
    """The mails of these purchases say nothing any more; those that wait never go out, and no new ones are made."""
    if not event.reference_numbers:
        return
    await forget_purchases(work, event.reference_numbers)
    emails = await lock_emails_of(work, event.reference_numbers)
    for email, now in emails:
        await _anonymize(work, email, now)
    await anonymize_history(work, [email.id for email, _ in emails], event.reference_numbers)


async def _anonymize(work: UnitOfWork, email: Email, now: datetime) -> None:
    email.recipient = REMOVED_EMAIL
    email.subject = email.text = email.html = REMOVED
    email.bounce_reason = REMOVED if email.bounce_reason else None
    email.reason = None
    email.anonymized_at = now
    if email.state in _WAITING:
        email.bounce_reason = _GIVEN_UP
        failed = EmailFailed(**event_fields(email), reason=_GIVEN_UP)
        await close_change(work, email, EmailState.FAILED, at=now, events=[failed])
