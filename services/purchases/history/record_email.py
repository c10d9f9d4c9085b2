"""What became of a purchase's mails, for its history."""

from datetime import datetime

from services.purchases.history.store import Entry, add_entry, hold_purchase
from services.purchases.models import Facts
from services.purchases.purchase.store import not_found
from shared.contracts.notifications import EmailBounced, EmailEvent, EmailFailed, EmailSent
from shared.messaging.unit_of_work import UnitOfWork


async def record_sent(work: UnitOfWork, event: EmailSent) -> None:
    """The customer has been written to."""
    await _record(work, event, "email.sent", {"attempt": event.attempt}, at=event.sent_at)


async def record_bounced(work: UnitOfWork, event: EmailBounced) -> None:
    """The customer has not got the mail."""
    await _record(work, event, "email.bounced", {"reason": event.reason})


async def record_failed(work: UnitOfWork, event: EmailFailed) -> None:
    """The mail was given up."""
    await _record(work, event, "email.failed", {"reason": event.reason})


async def _record(
    work: UnitOfWork, event: EmailEvent, subject: str, facts: Facts, *, at: datetime | None = None
) -> None:
    purchase = await hold_purchase(work, event.reference_number)
    if purchase is None:
        raise not_found(event.reference_number, None)
    mail: Facts = {"email_id": str(event.email_id), "email_type": event.email_type, "email_subject": event.subject}
    await add_entry(work, purchase, Entry(subject, mail | facts), at=at)
