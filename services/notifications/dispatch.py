"""Sending as far as the database knows it: which mails are taken for sending, and what became of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

from sqlalchemy import Row, and_, delete, func, select, update
from sqlalchemy.orm import defer

from services.notifications import domain, sending
from services.notifications.domain import Answer, Outcome
from services.notifications.emails import event_fields, move
from services.notifications.mime import OutgoingMail
from services.notifications.models import Email, EmailAttemptRow
from services.notifications.sending import ACTOR
from shared.contracts.errorlog import NotificationsErrorRaised
from shared.contracts.notifications import EmailBounced, EmailFailed, EmailSent, EmailState, EmailType
from shared.messaging.leased_job import Settled, release
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork

_INTERRUPTED = "Sending was interrupted before an answer was recorded; the server may have taken the mail."


@dataclass(frozen=True)
class Taken:
    """A mail that this process is sending."""

    email_id: UUID
    token: UUID
    mail: OutgoingMail


Delivery: TypeAlias = Settled[Taken, Answer]
"""A mail in hand and what the server said of it; nothing, if nothing was tried."""


async def take_due(work: UnitOfWork, limit: int, lease: timedelta) -> list[Taken]:
    """Take due mails for sending and write the attempt down. Whoever called commits before anything is sent.

    Mails whose lease ran out while they were being sent are taken again: whether they left is unknown, so they are
    sent again under the same Message-ID. docs/domain.md, "Sending e-mails".
    """
    rows = (await work.session.execute(sending.TAKE, {"limit": limit, "lease": lease})).all()
    taken = [_taken(row.id, row.lease_token, row, row.changed_at) for row in rows if row.lease_token is not None]
    interrupted = [row.id for row in rows if row.lease_token is None]
    return taken + await _take_again(work, interrupted, lease) if interrupted else taken


async def _take_again(work: UnitOfWork, ids: list[UUID], lease: timedelta) -> list[Taken]:
    """Take mails, locked already, whose sending was interrupted; those that were tried for too long are given up."""
    statement = select(Email, func.now()).where(Email.id.in_(ids)).execution_options(populate_existing=True)
    found = (await work.session.execute(statement)).all()
    again: list[Taken] = []
    for email, now in found:
        await _note_interruption(work, email)
        if _delay(email, now) is None:
            await _fail(work, email, _INTERRUPTED, now)
            continue
        move(email, EmailState.SENDING, ACTOR, now)
        email.attempts += 1
        email.lease_token, email.leased_until = uuid4(), now + lease
        work.session.add(EmailAttemptRow(email_id=email.id, number=email.attempts, at=now))
        again.append(_taken(email.id, email.lease_token, email, now))
    return again


async def settle(work: UnitOfWork, settled: Sequence[Delivery]) -> None:
    """Write down what became of mails that are still ours, and tell the listeners.

    A mail that another process has taken since (this one was paused past its lease) is left alone.
    """
    by_id = {one.item.email_id: one for one in settled}
    accepted = {key: answer for key, one in by_id.items() if (answer := _acceptance(one)) is not None}
    if len(accepted) < len(by_id):
        for email, attempt, now in await _locked(work, list(by_id)):
            one = by_id[email.id]
            if email.id not in accepted and email.lease_token == one.item.token:
                await _conclude(work, email, attempt, one.result, now)
    if accepted:
        await _settle_accepted(work, {key: by_id[key].item.token for key in accepted}, accepted)


def _acceptance(one: Delivery) -> Answer | None:
    return one.result if one.result is not None and one.result.outcome is Outcome.ACCEPTED else None


async def _settle_accepted(work: UnitOfWork, tokens: Mapping[UUID, UUID], answers: Mapping[UUID, Answer]) -> None:
    values = {
        "ids": list(tokens),
        "tokens": list(tokens.values()),
        "codes": [answers[email_id].code for email_id in tokens],
        "words": [answers[email_id].detail for email_id in tokens],
    }
    for row in (await work.session.execute(sending.SETTLE_ACCEPTED, values)).all():
        event = EmailSent(
            email_id=row.id,
            reference_number=row.reference_number,
            email_type=EmailType(row.email_type),
            subject=row.subject,
            sent_at=row.changed_at,
            attempt=row.attempts,
        )
        await _for(work, row).publish(event, order_key=row.id, subject=row.reference_number)


async def _locked(work: UnitOfWork, ids: list[UUID]) -> Sequence[tuple[Email, EmailAttemptRow, datetime]]:
    of_this_try = and_(EmailAttemptRow.email_id == Email.id, EmailAttemptRow.number == Email.attempts)
    rows = await work.session.execute(
        select(Email, EmailAttemptRow, func.now())
        .join(EmailAttemptRow, of_this_try)
        .where(Email.id.in_(ids))
        .order_by(Email.id)
        .with_for_update(of=Email)
        .options(defer(Email.text, raiseload=True), defer(Email.html, raiseload=True))
    )
    return [(email, attempt, now) for email, attempt, now in rows]


async def _conclude(
    work: UnitOfWork, email: Email, attempt: EmailAttemptRow, answer: Answer | None, now: datetime
) -> None:
    """Write down what became of a mail that the server did not take."""
    if answer is None:
        await _untried(work, email, now)
        return
    attempt.outcome = answer.outcome.value
    attempt.smtp_code = answer.code
    attempt.detail = answer.detail
    if answer.outcome is Outcome.PERMANENT:
        await _bounce(work, email, answer, now)
    elif (due_at := _delay(email, now)) is None:
        await _fail(work, email, _words(answer), now)
    else:
        release(email)
        move(email, EmailState.QUEUED, ACTOR, now)
        email.due_at = due_at


async def _bounce(work: UnitOfWork, email: Email, answer: Answer, now: datetime) -> None:
    release(email)
    move(email, EmailState.BOUNCED, ACTOR, now)
    email.bounce_reason = _words(answer)
    event = EmailBounced(**event_fields(email), reason=email.bounce_reason)
    await _for(work, email).publish(event, order_key=email.id, subject=email.reference_number)
    await _raise_error(
        work,
        email,
        error_type="email_bounce",
        title="E-mail bounced",
        reason=email.bounce_reason,
        smtp_code=answer.code,
    )


async def _fail(work: UnitOfWork, email: Email, reason: str, now: datetime) -> None:
    release(email)
    move(email, EmailState.FAILED, ACTOR, now)
    event = EmailFailed(**event_fields(email), reason=reason)
    await _for(work, email).publish(event, order_key=email.id, subject=email.reference_number)
    await _raise_error(work, email, error_type="email_failure", title="E-mail given up", reason=reason)


async def _raise_error(
    work: UnitOfWork, email: Email, *, error_type: str, title: str, reason: str, smtp_code: int | None = None
) -> None:
    error = NotificationsErrorRaised(
        error_type=error_type,
        title=title,
        note=reason,
        reference_number=email.reference_number,
        fingerprint=f"{error_type}:{smtp_code}" if smtp_code else error_type,
        facts={"email_id": str(email.id), "email_type": email.email_type, "smtp_code": smtp_code},
    )
    await _for(work, email).publish(error, order_key=email.id, subject=email.reference_number)


async def _untried(work: UnitOfWork, email: Email, now: datetime) -> None:
    """Nothing left the house, so nothing is counted: the mail waits as if it had not been taken."""
    await work.session.execute(
        delete(EmailAttemptRow).where(EmailAttemptRow.email_id == email.id, EmailAttemptRow.number == email.attempts)
    )
    email.attempts -= 1
    if email.anonymized_at is not None:
        await _fail(work, email, "the personal data of the customer were removed", now)
        return
    release(email)
    move(email, EmailState.QUEUED, ACTOR, now)


async def _note_interruption(work: UnitOfWork, email: Email) -> None:
    await work.session.execute(
        update(EmailAttemptRow)
        .where(EmailAttemptRow.email_id == email.id, EmailAttemptRow.number == email.attempts)
        .values(detail=_INTERRUPTED)
    )


def _delay(email: Email, now: datetime) -> datetime | None:
    if email.anonymized_at is not None:
        return None
    email.delays += 1
    email.first_delayed_at = email.first_delayed_at or now
    return domain.next_try(email.delays, email.first_delayed_at, now)


def _for(work: UnitOfWork, email: Email | Row[Any]) -> UnitOfWork:
    """The same transaction in the name of whoever wanted this mail."""
    context = MessageContext(
        client_id=email.client_id,
        actor=email.actor,
        message_id=email.causation_id,
        correlation_id=email.correlation_id,
        traceparent=email.traceparent,
        reason=email.reason,
    )
    return replace(work, context=context)


def _words(answer: Answer) -> str:
    return " ".join(str(part) for part in (answer.code, answer.detail) if part) or "no answer"


def _taken(email_id: UUID, token: UUID, email: Email | Row[Any], now: datetime) -> Taken:
    mail = OutgoingMail(
        email_id=email_id,
        message_id_header=email.message_id_header,
        sender_name=email.sender_name,
        sender_address=email.sender_address,
        recipient=email.recipient,
        subject=email.subject,
        language=email.language,
        text=email.text,
        html=email.html,
        sent_at=now,
        cc=tuple(email.cc),
        bcc=tuple(email.bcc),
    )
    return Taken(email_id, token, mail)
