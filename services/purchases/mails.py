"""What became of a purchase's mails, for its history."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Row, bindparam, select

from services.purchases import history
from services.purchases.contact_rules import anonymized_facts
from services.purchases.models import Facts, Purchase
from services.purchases.purchases import not_found
from shared.contracts.notifications import EmailBounced, EmailEvent, EmailFailed, EmailSent
from shared.messaging.unit_of_work import UnitOfWork

_PURCHASE: Final = (
    select(Purchase.id, Purchase.anonymized_at)
    .where(Purchase.client_id == bindparam("client_id"), Purchase.reference_number == bindparam("reference_number"))
    .with_for_update(read=True, key_share=True)
)
"""Held until the entry is committed, so that nobody anonymizes the purchase in between."""


async def note_sent(work: UnitOfWork, event: EmailSent) -> None:
    """The customer has been written to."""
    await _note(work, event, "email.sent", {"attempt": event.attempt}, at=event.sent_at)


async def note_bounced(work: UnitOfWork, event: EmailBounced) -> None:
    """The customer has not got the mail."""
    await _note(work, event, "email.bounced", {"reason": event.reason})


async def note_failed(work: UnitOfWork, event: EmailFailed) -> None:
    """The mail was given up."""
    await _note(work, event, "email.failed", {"reason": event.reason})


async def _note(work: UnitOfWork, event: EmailEvent, subject: str, facts: Facts, *, at: datetime | None = None) -> None:
    client_id, number = work.context.client_id, event.reference_number
    purchase: Row[UUID, datetime | None] | Purchase | None = work.locked(Purchase, (client_id, number, None))
    if purchase is None:
        address = {"client_id": client_id, "reference_number": number}
        purchase = (await work.session.execute(_PURCHASE, address)).one_or_none()
    if purchase is None:
        raise not_found(event.reference_number, None)
    about: Facts = {"email_id": str(event.email_id), "email_type": event.email_type, "email_subject": event.subject}
    gone = purchase.anonymized_at is not None
    told = anonymized_facts(about | facts) if gone else about | facts
    await history.note(work, purchase.id, event.reference_number, subject, told, at=at, is_anonymized=gone)
