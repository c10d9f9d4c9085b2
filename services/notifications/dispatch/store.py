"""What the dispatcher asks of the database. Taking and settling are one statement each for any number of mails."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import (
    Executable,
    Integer,
    Row,
    TableValuedAlias,
    Text,
    Uuid,
    and_,
    bindparam,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import defer
from sqlalchemy.types import TypeEngine

from services.notifications.dispatch.rules import Answer, Outcome
from services.notifications.models import TO_DISPATCH, Email, EmailAttemptRow
from services.notifications.smtp.mime import OutgoingMail
from shared.contracts.notifications import EmailState
from shared.messaging import leased_job
from shared.messaging.unit_of_work import UnitOfWork

ACTOR: Final = "service:notifications"
_EMAIL: Final = Email.__table__
_ATTEMPT: Final = EmailAttemptRow.__table__
_MAIL: Final = (
    "message_id_header", "sender_name", "sender_address", "recipient", "subject", "language", "text", "html",
    "cc", "bcc",
)  # fmt: skip
_SENT: Final = (
    "id", "client_id", "reference_number", "email_type", "subject", "attempts", "changed_at", "actor", "reason",
    "causation_id", "correlation_id", "traceparent",
)  # fmt: skip
"""What the event says that a mail was sent, and in whose name."""


@dataclass(frozen=True)
class Taken:
    """A mail that this process is sending."""

    email_id: UUID
    token: UUID
    mail: OutgoingMail


async def lease_due(work: UnitOfWork, limit: int, lease: timedelta) -> tuple[list[Taken], list[UUID]]:
    """Lease queued mails that are due, each with an attempt begun; and name those whose sending was interrupted.

    The latter are locked and as they were.
    """
    rows = (await work.session.execute(_TAKE, {"limit": limit, "lease": lease})).all()
    taken = [_taken(row.id, row.lease_token, row, row.changed_at) for row in rows if row.lease_token is not None]
    return taken, [row.id for row in rows if row.lease_token is None]


async def read_interrupted(work: UnitOfWork, ids: Sequence[UUID]) -> Sequence[tuple[Email, datetime]]:
    """Mails that this transaction has locked, as they stand, each with the time."""
    statement = select(Email, func.now()).where(Email.id.in_(ids)).execution_options(populate_existing=True)
    return [(email, now) for email, now in await work.session.execute(statement)]


def lease_again(work: UnitOfWork, email: Email, lease: timedelta, *, at: datetime) -> Taken:
    """Lease a mail of which an earlier lease ran out, with one more attempt."""
    token = uuid4()
    email.attempts += 1
    email.lease_token, email.leased_until = token, at + lease
    work.session.add(EmailAttemptRow(email_id=email.id, number=email.attempts, at=at))
    return _taken(email.id, token, email, at)


async def explain_attempt(work: UnitOfWork, email: Email, words: str) -> None:
    """Say what is known of the last attempt."""
    await work.session.execute(update(EmailAttemptRow).where(*_last_attempt(email)).values(detail=words))


async def remove_attempt(work: UnitOfWork, email: Email) -> None:
    """The last attempt was not made."""
    await work.session.execute(delete(EmailAttemptRow).where(*_last_attempt(email)))
    email.attempts -= 1


def _last_attempt(email: Email) -> tuple[Any, ...]:
    return EmailAttemptRow.email_id == email.id, EmailAttemptRow.number == email.attempts


async def lock_attempts(work: UnitOfWork, ids: Sequence[UUID]) -> Sequence[tuple[Email, EmailAttemptRow, datetime]]:
    """These mails, locked, each with its last attempt and the time."""
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


async def close_accepted(work: UnitOfWork, accepted: Sequence[tuple[Taken, Answer]]) -> Sequence[Row[Any]]:
    """Mails that the server took become sent, where they are still ours; returns what is told of each."""
    values = {
        "ids": [taken.email_id for taken, _ in accepted],
        "tokens": [taken.token for taken, _ in accepted],
        "codes": [answer.code for _, answer in accepted],
        "words": [answer.detail for _, answer in accepted],
    }
    return (await work.session.execute(_CLOSE_ACCEPTED, values)).all()


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


def _take() -> Executable:
    """Due mails that nobody holds, oldest first, at most `limit`; those that were queued are leased for `lease`, with
    their attempt.

    The others were being sent when their lease ran out. They come locked and as they were: whether they are tried
    again is for the rules to say.
    """
    now = func.now()
    due = leased_job.due(_EMAIL, TO_DISPATCH)
    taken = (
        update(_EMAIL)
        .where(_EMAIL.c.id == due.c.id, due.c.state == EmailState.QUEUED.value)
        .values(
            state=EmailState.SENDING.value,
            version=_EMAIL.c.version + 1,
            changed_by=ACTOR,
            changed_at=now,
            **leased_job.leasing(_EMAIL),
        )
        .returning(*(_EMAIL.c[name] for name in ("id", "attempts", "changed_at", "lease_token", *_MAIL)))
        .cte("taken")
    )
    begun = (
        insert(_ATTEMPT)
        .from_select(
            ["email_id", "number", "at", "outcome"],
            select(taken.c.id, taken.c.attempts, taken.c.changed_at, literal(Outcome.UNKNOWN.value)),
        )
        .cte("begun")
    )
    return (
        select(due.c.id, due.c.state, *(taken.c[name] for name in ("lease_token", "changed_at", *_MAIL)))
        .select_from(due.outerjoin(taken, taken.c.id == due.c.id))
        .order_by(due.c.due_at)
        .add_cte(begun)
    )


def _answer() -> TableValuedAlias:
    """The server's answers to some mails, one row each."""
    arrays: dict[str, tuple[str, TypeEngine[Any]]] = {
        "id": ("ids", Uuid()),
        "token": ("tokens", Uuid()),
        "code": ("codes", Integer()),
        "words": ("words", Text()),
    }
    return (
        func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in arrays.values()))
        .table_valued(*(column(name, kind) for name, (_, kind) in arrays.items()))
        .render_derived(name="answer")
    )


def _close_accepted() -> Executable:
    """Mails that the server took (`ids`) become sent, where they are still held under `tokens`; with its answers.

    They are locked in the order of their ids, like everywhere, before anything is changed.
    """
    answer = _answer()
    held = (
        select(_EMAIL.c.id, answer.c.code, answer.c.words)
        .join(answer, answer.c.id == _EMAIL.c.id)
        .where(_EMAIL.c.lease_token == answer.c.token)
        .order_by(_EMAIL.c.id)
        .with_for_update(of=_EMAIL)
        .cte("held")
    )
    now = func.now()
    sent = (
        update(_EMAIL)
        .where(_EMAIL.c.id == held.c.id)
        .values(
            state=EmailState.SENT.value,
            version=_EMAIL.c.version + 1,
            lease_token=None,
            leased_until=None,
            changed_by=ACTOR,
            changed_at=now,
            sent_at=now,
            bounce_reason=None,
        )
        .returning(*(_EMAIL.c[name] for name in _SENT), held.c.code, held.c.words)
        .cte("sent")
    )
    answered = (
        update(_ATTEMPT)
        .where(_ATTEMPT.c.email_id == sent.c.id, _ATTEMPT.c.number == sent.c.attempts)
        .values(outcome=Outcome.ACCEPTED.value, smtp_code=sent.c.code, detail=sent.c.words)
        .cte("answered")
    )
    return select(*(sent.c[name] for name in _SENT)).order_by(sent.c.id).add_cte(answered)


_TAKE: Final = _take()
_CLOSE_ACCEPTED: Final = _close_accepted()
