"""Reading mails: the list of a purchase, one mail exactly as it was or will be sent."""

from sqlalchemy import Select, select
from sqlalchemy.orm import defer, selectinload

from services.notifications import domain
from services.notifications.models import Email, EmailAttemptRow, EmailChangeRow
from shared.contracts.notifications import (
    EmailAttempt,
    EmailChange,
    EmailPage,
    EmailRow,
    EmailView,
    GetEmail,
    ListEmails,
)
from shared.contracts.refusals import Refused
from shared.messaging.pagination import cursor_after, cursor_id
from shared.messaging.unit_of_work import UnitOfWork

_ALL_CLIENTS = "*"


async def list_emails(work: UnitOfWork, query: ListEmails) -> EmailPage:
    """The mails of a purchase or in a state, newest first. Refuses a cursor that is none of ours."""
    statement = _visible(work).options(defer(Email.text, raiseload=True), defer(Email.html, raiseload=True))
    if query.reference_number is not None:
        statement = statement.where(Email.reference_number == query.reference_number)
    if query.state is not None:
        statement = statement.where(Email.state == query.state.value)
    after = cursor_id(work, query)
    if after is not None:
        statement = statement.where(Email.id < after)
    found = (await work.session.scalars(statement.order_by(Email.id.desc()).limit(query.limit + 1))).all()
    page = found[: query.limit]
    cursor = cursor_after(page[-1].id.bytes, work, query) if len(found) > query.limit else None
    return EmailPage(rows=tuple(EmailRow.model_validate(_row(email)) for email in page), next_cursor=cursor)


async def get_email(work: UnitOfWork, query: GetEmail) -> EmailView:
    """One mail with its exact text, its attempts, and what may be done with it now."""
    statement = (
        _visible(work)
        .where(Email.id == query.email_id)
        .options(selectinload(Email.attempt_rows), selectinload(Email.change_rows))
    )
    email = (await work.session.scalars(statement)).one_or_none()
    if email is None:
        raise Refused("email_not_found", "There is no such mail.", email_id=str(query.email_id))
    return EmailView.model_validate(
        {
            **_row(email),
            "message_id_header": email.message_id_header,
            "sender": f"{email.sender_name} <{email.sender_address}>",
            "cc": tuple(email.cc),
            "bcc": tuple(email.bcc),
            "text": email.text,
            "html": email.html,
            "attempts": tuple(_attempt(attempt) for attempt in email.attempt_rows),
            "changes": tuple(_change(change) for change in email.change_rows),
            "actions": domain.actions(email.standing, is_anonymized=email.anonymized_at is not None),
        }
    )


def _visible(work: UnitOfWork) -> Select[Email]:
    if work.context.client_id == _ALL_CLIENTS:
        return select(Email)
    return select(Email).where(Email.client_id == work.context.client_id)


def _row(email: Email) -> dict[str, object]:
    return {
        "email_id": email.id,
        "reference_number": email.reference_number,
        "email_type": email.kind,
        "state": email.standing,
        "version": email.version,
        "to": email.recipient,
        "subject": email.subject,
        "language": email.language,
        "created_at": email.created_at,
        "due_at": email.due_at,
        "sent_at": email.sent_at,
        "bounce_reason": email.bounce_reason,
    }


def _attempt(attempt: EmailAttemptRow) -> EmailAttempt:
    words = " ".join(str(part) for part in (attempt.smtp_code, attempt.detail) if part is not None)
    return EmailAttempt(number=attempt.number, at=attempt.at, outcome=attempt.outcome, detail=words or None)


def _change(change: EmailChangeRow) -> EmailChange:
    return EmailChange(
        version=change.version, at=change.at, action=change.action, actor=change.actor, reason=change.reason
    )
