"""What this service handles, each message with one use case."""

from services.notifications.email import anonymize, change, compose, view
from services.notifications.email.sender import sender_of
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.notifications import (
    EmailChanged,
    EmailPage,
    EmailView,
    GetEmail,
    HoldEmail,
    ListEmails,
    QueueEmail,
    SendEmail,
)
from shared.contracts.purchases import PaymentRecorded, RefundCompleted
from shared.messaging.handlers import Handlers
from shared.messaging.unit_of_work import UnitOfWork

handlers = Handlers("notifications")


@handlers.event(PaymentRecorded, lane=lambda event: event.reference_number)
async def on_payment_recorded(event: PaymentRecorded, work: UnitOfWork) -> None:
    await compose.compose_receipt(work, event, await sender_of(work))


@handlers.event(RefundCompleted, lane=lambda event: event.reference_number)
async def on_refund_completed(event: RefundCompleted, work: UnitOfWork) -> None:
    await compose.compose_refund_confirmation(work, event, await sender_of(work))


@handlers.command(HoldEmail, lane=lambda command: str(command.email_id))
async def hold_email(command: HoldEmail, work: UnitOfWork) -> EmailChanged:
    return await change.hold_email(work, command)


@handlers.command(QueueEmail, lane=lambda command: str(command.email_id))
async def queue_email(command: QueueEmail, work: UnitOfWork) -> EmailChanged:
    return await change.queue_email(work, command)


@handlers.command(SendEmail, lane=lambda command: str(command.email_id))
async def send_email(command: SendEmail, work: UnitOfWork) -> EmailChanged:
    return await change.send_email(work, command)


@handlers.query(ListEmails)
async def list_emails(query: ListEmails, work: UnitOfWork) -> EmailPage:
    return await view.list_emails(work, query)


@handlers.query(GetEmail)
async def get_email(query: GetEmail, work: UnitOfWork) -> EmailView:
    return await view.get_email(work, query)


@handlers.event(CustomerAnonymized, lane=lambda event: str(event.customer_id))
async def on_customer_anonymized(event: CustomerAnonymized, work: UnitOfWork) -> None:
    await anonymize.anonymize_emails(work, event)
