"""What becomes of a mail after one try to send it. Rules: docs/domain.md, "Sending e-mails"."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

from services.notifications.dispatch.rules import Answer, Outcome, next_try
from services.notifications.dispatch.store import Taken, close_accepted, lock_attempts, remove_attempt
from services.notifications.email.store import close_change, context_of, event_fields
from services.notifications.models import Email, EmailAttemptRow
from shared.contracts.errorlog import NotificationsErrorRaised
from shared.contracts.message import Event
from shared.contracts.notifications import EmailBounced, EmailFailed, EmailSent, EmailState, EmailType
from shared.messaging.leased_job import Settled, release
from shared.messaging.unit_of_work import UnitOfWork

Delivery: TypeAlias = Settled[Taken, Answer]
"""A mail in hand and what the server said of it; nothing, if nothing was tried."""


async def settle(work: UnitOfWork, settled: Sequence[Delivery]) -> None:
    """Write down what became of mails that are still ours, and tell the listeners.

    A mail that another process has taken since (this one was paused past its lease) is left alone.
    """
    accepted = [(one.item, one.result) for one in settled if one.result is not None and one.result.is_accepted]
    if len(accepted) < len(settled):
        # All are locked in the order of their ids, like everywhere, before anything is changed.
        by_id = {one.item.email_id: one for one in settled}
        for email, attempt, now in await lock_attempts(work, list(by_id)):
            one = by_id[email.id]
            if email.lease_token == one.item.token and (one.result is None or not one.result.is_accepted):
                await _conclude(work, email, attempt, one.result, now)
    if accepted:
        await _settle_accepted(work, accepted)


async def _settle_accepted(work: UnitOfWork, accepted: Sequence[tuple[Taken, Answer]]) -> None:
    for row in await close_accepted(work, accepted):
        event = EmailSent(
            email_id=row.id,
            reference_number=row.reference_number,
            email_type=EmailType(row.email_type),
            subject=row.subject,
            sent_at=row.changed_at,
            attempt=row.attempts,
        )
        told = replace(work, context=context_of(row))
        await told.publish(event, order_key=row.id, subject=row.reference_number)


async def _conclude(
    work: UnitOfWork, email: Email, attempt: EmailAttemptRow, answer: Answer | None, now: datetime
) -> None:
    """Write down what became of a mail that the server did not take."""
    if answer is None:
        await _put_back(work, email, now)
        return
    attempt.outcome = answer.outcome.value
    attempt.smtp_code = answer.code
    attempt.detail = answer.detail
    if answer.outcome is Outcome.PERMANENT:
        await _bounce(work, email, answer, now)
    elif (due_at := count_delay(email, now)) is None:
        await fail(work, email, answer.words, now)
    else:
        email.due_at = due_at
        await _close(work, email, EmailState.QUEUED, now)


async def _put_back(work: UnitOfWork, email: Email, now: datetime) -> None:
    """Nothing left the house, so nothing is counted: the mail waits as if it had not been taken."""
    await remove_attempt(work, email)
    if email.anonymized_at is not None:
        await fail(work, email, "the personal data of the customer were removed", now)
    else:
        await _close(work, email, EmailState.QUEUED, now)


async def _bounce(work: UnitOfWork, email: Email, answer: Answer, now: datetime) -> None:
    email.bounce_reason = answer.words
    bounced = EmailBounced(**event_fields(email), reason=answer.words)
    error = _error(email, "email_bounce", "E-mail bounced", answer.words, answer.code)
    await _close(work, email, EmailState.BOUNCED, now, [bounced, error])


async def fail(work: UnitOfWork, email: Email, reason: str, now: datetime) -> None:
    """Give a mail up, and let a person know."""
    failed = EmailFailed(**event_fields(email), reason=reason)
    error = _error(email, "email_failure", "E-mail given up", reason)
    await _close(work, email, EmailState.FAILED, now, [failed, error])


def count_delay(email: Email, now: datetime) -> datetime | None:
    """One more try was without success. When the next is due; None where there is none."""
    if email.anonymized_at is not None:
        return None
    email.delays += 1
    email.first_delayed_at = email.first_delayed_at or now
    return next_try(email.delays, email.first_delayed_at, now)


async def _close(
    work: UnitOfWork, email: Email, state: EmailState, now: datetime, events: Iterable[Event] = ()
) -> None:
    """The try is over: nobody holds the mail, and whoever wanted it is told what became of it."""
    release(email)
    await close_change(work, email, state, at=now, events=events, context=context_of(email))


def _error(email: Email, error_type: str, title: str, reason: str, smtp_code: int | None = None) -> Event:
    return NotificationsErrorRaised(
        error_type=error_type,
        title=title,
        note=reason,
        reference_number=email.reference_number,
        fingerprint=f"{error_type}:{smtp_code}" if smtp_code else error_type,
        facts={"email_id": str(email.id), "email_type": email.email_type, "smtp_code": smtp_code},
    )
