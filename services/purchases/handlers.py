"""What the purchases service listens to; each handler is one use case."""

from services.purchases import search
from services.purchases.history import record_email
from services.purchases.payment import record as payment
from services.purchases.purchase import anonymize, record, view
from services.purchases.purchase import update_contact as contact
from services.purchases.refund import request
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.notifications import EmailBounced, EmailEvent, EmailFailed, EmailSent
from shared.contracts.purchases import (
    GetPurchase,
    PaymentBooked,
    PurchaseAddress,
    PurchaseChanged,
    PurchasePage,
    PurchaseView,
    RecordPayment,
    RecordPurchase,
    RefundAccepted,
    RequestRefund,
    SearchPurchases,
    UpdatePurchaseContact,
)
from shared.messaging.handlers import Handlers
from shared.messaging.unit_of_work import UnitOfWork

handlers = Handlers("purchases")


def _order(command: RecordPurchase) -> str:
    return command.client_order_id


def _address(command: PurchaseAddress) -> str | None:
    return command.reference_number or command.client_order_id


def _reference_number(event: EmailEvent) -> str:
    return event.reference_number


@handlers.command(RecordPurchase, lane=_order)
async def record_purchase(command: RecordPurchase, work: UnitOfWork) -> PurchaseChanged:
    return await record.record_purchase(work, command)


@handlers.command(RecordPayment, lane=_address)
async def record_payment(command: RecordPayment, work: UnitOfWork) -> PaymentBooked:
    return await payment.record_payment(work, command)


@handlers.command(RequestRefund, lane=_address)
async def request_refund(command: RequestRefund, work: UnitOfWork) -> RefundAccepted:
    return await request.request_refund(work, command)


@handlers.command(UpdatePurchaseContact, lane=_address)
async def update_contact(command: UpdatePurchaseContact, work: UnitOfWork) -> PurchaseChanged:
    return await contact.update_contact(work, command)


@handlers.query(GetPurchase)
async def get_purchase(query: GetPurchase, work: UnitOfWork) -> PurchaseView:
    return await view.get_purchase(work, query)


@handlers.query(SearchPurchases)
async def search_purchases(query: SearchPurchases, work: UnitOfWork) -> PurchasePage:
    return await search.search_purchases(work, query)


@handlers.event(EmailSent, lane=_reference_number)
async def on_email_sent(event: EmailSent, work: UnitOfWork) -> None:
    await record_email.record_sent(work, event)


@handlers.event(EmailBounced, lane=_reference_number)
async def on_email_bounced(event: EmailBounced, work: UnitOfWork) -> None:
    await record_email.record_bounced(work, event)


@handlers.event(EmailFailed, lane=_reference_number)
async def on_email_failed(event: EmailFailed, work: UnitOfWork) -> None:
    await record_email.record_failed(work, event)


@handlers.event(CustomerAnonymized, lane=lambda event: str(event.customer_id))
async def on_customer_anonymized(event: CustomerAnonymized, work: UnitOfWork) -> None:
    await anonymize.anonymize_purchases(work, event)
