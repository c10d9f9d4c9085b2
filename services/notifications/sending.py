"""Sending in SQL: each statement takes or settles any number of mails at once."""

from typing import Any, Final

from sqlalchemy import (
    Executable,
    Integer,
    TableValuedAlias,
    Text,
    Uuid,
    bindparam,
    column,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from services.notifications.domain import Outcome
from services.notifications.models import TO_DISPATCH, Email, EmailAttemptRow
from shared.contracts.notifications import EmailState
from shared.messaging import leased_job

ACTOR: Final = "service:notifications"
_EMAIL: Final = Email.__table__
_ATTEMPT: Final = EmailAttemptRow.__table__
_MAIL: Final = (
    "message_id_header", "sender_name", "sender_address", "recipient", "subject", "language", "text", "html",
    "cc", "bcc",
)  # fmt: skip
_NEWS: Final = (
    "id", "client_id", "reference_number", "email_type", "subject", "attempts", "changed_at", "actor", "reason",
    "causation_id", "correlation_id", "traceparent",
)  # fmt: skip
"""What the event says that a mail was sent, and in whose name."""


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
        func.unnest(*(bindparam(given, type_=ARRAY(kind)) for given, kind in arrays.values()))
        .table_valued(*(column(name, kind) for name, (_, kind) in arrays.items()))
        .render_derived(name="answer")
    )


def _settle_accepted() -> Executable:
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
        .returning(*(_EMAIL.c[name] for name in _NEWS), held.c.code, held.c.words)
        .cte("sent")
    )
    noted = (
        update(_ATTEMPT)
        .where(_ATTEMPT.c.email_id == sent.c.id, _ATTEMPT.c.number == sent.c.attempts)
        .values(outcome=Outcome.ACCEPTED.value, smtp_code=sent.c.code, detail=sent.c.words)
        .cte("noted")
    )
    return select(*(sent.c[name] for name in _NEWS)).order_by(sent.c.id).add_cte(noted)


TAKE: Final = _take()
SETTLE_ACCEPTED: Final = _settle_accepted()
