"""What other services announce about a customer's purchases, for the profile."""

from datetime import UTC, datetime

from services.customers.customer.rules import kept_facts
from services.customers.models import Facts
from services.customers.purchase.record import note_news
from services.customers.purchase.store import ANNOUNCE, given
from shared.contracts.notifications import EmailBounced, EmailEvent, EmailFailed, EmailSent
from shared.messaging.unit_of_work import UnitOfWork


async def note_email(work: UnitOfWork, event: EmailEvent) -> None:
    """A mail about a purchase was queued, held, sent, bounced or given up."""
    facts: Facts = {"email_id": str(event.email_id), "email_type": event.email_type.value, "title": event.subject}
    if isinstance(event, EmailSent):
        await announce(work, event, facts | {"attempt": event.attempt}, at=event.sent_at)
    elif isinstance(event, EmailBounced | EmailFailed):
        await announce(work, event, facts | {"reason": event.reason})
    else:
        await announce(work, event, facts)


async def announce(work: UnitOfWork, event: EmailEvent, facts: Facts, *, at: datetime | None = None) -> None:
    """Put a line into the profile of whoever made the purchase; its name is the event's noun and verb.

    Of an anonymized customer only what is not personal is kept. Raises MissingPrerequisite `purchase_not_found`.
    """
    line = {
        "id": work.context.message_id,
        "at": at or datetime.now(UTC),
        "subject": ".".join(type(event).key.split(".")[1:3]),
        "facts": facts,
        "kept": kept_facts(facts),
    }
    await note_news(work, event.reference_number, ANNOUNCE, given("news", line))
