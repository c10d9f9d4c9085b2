"""Reading mails: the list of a purchase, one mail exactly as it was or will be sent."""

from sqlalchemy import select
from sqlalchemy.orm import defer, selectinload

from services.notifications.email.rules import CHECKS
from services.notifications.email.store import email_not_found, rule_view
from services.notifications.models import Email, EmailAttemptRow, EmailChangeRow
from shared.contracts.notifications import (
    EmailAttempt,
    EmailChange,
    EmailPage,
    EmailRow,
    EmailState,
    EmailType,
    EmailView,
    GetEmail,
    ListEmails,
)
from shared.contracts.refusals import actions
from shared.messaging.pagination import cursor_id
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import page, visible_to


async def list_emails(work: UnitOfWork, query: ListEmails) -> EmailPage:
    """The mails of a purchase or in a state, newest first. Raises Refused `cursor_invalid`."""
    wanted = list(visible_to(work.context.client_id, Email.client_id))
    if query.reference_number is not None:
        wanted.append(Email.reference_number == query.reference_number)
    if query.state is not None:
        wanted.append(Email.state == query.state.value)
    after = cursor_id(work, query)
    if after is not None:
        wanted.append(Email.id < after)
    statement = (
        select(Email)
        .where(*wanted)
        .options(defer(Email.text, raiseload=True), defer(Email.html, raiseload=True))
        .order_by(Email.id.desc())
        .limit(query.limit + 1)
    )
    found = page((await work.session.scalars(statement)).all(), lambda email: email.id.bytes, work, query)
    rows = tuple(EmailRow.model_validate(_row(email)) for email in found.rows)
    return EmailPage(rows=rows, next_cursor=found.next_cursor)


async def get_email(work: UnitOfWork, query: GetEmail) -> EmailView:
    """One mail with its exact text, its attempts, and what may be done with it now.

    Raises Refused `email_not_found`.
    """
    statement = (
        select(Email)
        .where(Email.id == query.email_id, *visible_to(work.context.client_id, Email.client_id))
        .options(selectinload(Email.attempt_rows), selectinload(Email.change_rows))
    )
    email = (await work.session.scalars(statement)).one_or_none()
    if email is None:
        raise email_not_found(query.email_id)
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
            "actions": tuple(actions(rule_view(email), CHECKS)),
        }
    )


def _row(email: Email) -> dict[str, object]:
    return {
        "email_id": email.id,
        "reference_number": email.reference_number,
        "email_type": EmailType(email.email_type),
        "state": EmailState(email.state),
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
