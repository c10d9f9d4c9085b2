"""Making mails for events. Rules: docs/domain.md, "E-mail types"."""

from uuid import UUID

from services.notifications.email.sender import Sender
from services.notifications.email.store import DISPATCH, add_email, find_email_of
from services.notifications.rendering.render import Rendered, render_receipt, render_refund_confirmation
from shared.contracts.notifications import EmailQueued, EmailType
from shared.contracts.purchases import PaymentRecorded, RefundCompleted
from shared.messaging.unit_of_work import UnitOfWork


async def compose_receipt(work: UnitOfWork, event: PaymentRecorded, sender: Sender) -> UUID | None:
    """Queue the receipt of a purchase with the payment that completed its price; None for any other payment,
    and where the client wants no receipts.

    docs/domain.md, "E-mail types".
    """
    if not event.paid_in_full or EmailType.RECEIPT in sender.silent:
        return None
    rendered = render_receipt(event, sender.name, sender.languages, sender.look)
    return await _queue(work, EmailType.RECEIPT, event, rendered, sender)


async def compose_refund_confirmation(work: UnitOfWork, event: RefundCompleted, sender: Sender) -> UUID | None:
    """Queue the confirmation of a refund; None where whoever wanted the refund wanted no mail,
    or the client wants none.

    docs/domain.md, "E-mail types".
    """
    if not event.notify_customer or EmailType.REFUND_CONFIRMATION in sender.silent:
        return None
    rendered = render_refund_confirmation(event, sender.name, sender.languages, sender.look)
    return await _queue(work, EmailType.REFUND_CONFIRMATION, event, rendered, sender)


async def _queue(
    work: UnitOfWork, kind: EmailType, event: PaymentRecorded | RefundCompleted, rendered: Rendered, sender: Sender
) -> UUID | None:
    """One event makes one mail, however often it comes."""
    made = await add_email(work, kind, event, rendered, sender)
    if made is None:
        return await find_email_of(work, event.reference_number)
    queued = EmailQueued(
        email_id=made, reference_number=event.reference_number, email_type=kind, subject=rendered.subject
    )
    await work.publish(queued, order_key=made, subject=event.reference_number)
    work.wake(DISPATCH)
    return made
