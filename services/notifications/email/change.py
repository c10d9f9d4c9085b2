"""Holding a mail back, queueing it, sending it at once. Rules: docs/domain.md, "E-mail states"."""

from datetime import datetime

from services.notifications.email.rules import Action, check_hold, check_queue, check_send
from services.notifications.email.sender import undo_window
from services.notifications.email.store import DISPATCH, close_change, event_fields, lock_email
from services.notifications.models import Email
from shared.contracts.notifications import (
    EmailChanged,
    EmailHeld,
    EmailQueued,
    EmailState,
    HoldEmail,
    QueueEmail,
    SendEmail,
)
from shared.messaging.unit_of_work import UnitOfWork


async def hold_email(work: UnitOfWork, command: HoldEmail) -> EmailChanged:
    """Keep a mail from going out until somebody queues or sends it.

    Raises Refused `email_not_found`, `version_conflict` and what `check_hold` says.
    """
    email, now = await lock_email(work, command, check_hold)
    held = EmailHeld(**event_fields(email))
    return await close_change(work, email, EmailState.HOLD, at=now, action=Action.HOLD, events=[held])


async def queue_email(work: UnitOfWork, command: QueueEmail) -> EmailChanged:
    """Let a mail go out, or go out once more, after the undo window. docs/domain.md, "E-mail states".

    Raises Refused `email_not_found`, `version_conflict` and what `check_queue` says.
    """
    wait = await undo_window(work)
    email, now = await lock_email(work, command, check_queue)
    return await _queue(work, email, Action.QUEUE, now, due_at=now + wait)


async def send_email(work: UnitOfWork, command: SendEmail) -> EmailChanged:
    """Let a mail go out, or go out once more, at once.

    Raises Refused `email_not_found`, `version_conflict` and what `check_send` says.
    """
    email, now = await lock_email(work, command, check_send)
    return await _queue(work, email, Action.SEND, now, due_at=now)


async def _queue(work: UnitOfWork, email: Email, action: Action, now: datetime, *, due_at: datetime) -> EmailChanged:
    """It begins anew: what became of it before counts no more."""
    email.due_at = due_at
    email.delays, email.first_delayed_at, email.bounce_reason = 0, None, None
    if due_at == now:
        work.wake(DISPATCH)
    queued = EmailQueued(**event_fields(email))
    return await close_change(work, email, EmailState.QUEUED, at=now, action=action, events=[queued])
