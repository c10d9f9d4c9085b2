"""What the customers service listens to; each handler is one use case."""

from services.customers import search
from services.customers.contact import change
from services.customers.customer import anonymize, create, view
from services.customers.merge import merge, undo
from services.customers.merge import view as merge_view
from services.customers.purchase import record
from shared.contracts.customers import (
    AddContact,
    AnonymizeCustomer,
    ContactUpdated,
    CreateCustomer,
    CustomerAddress,
    CustomerChanged,
    CustomerPage,
    CustomersMerged,
    CustomerView,
    DuplicatePage,
    GetCustomer,
    ListDuplicates,
    MergeContacts,
    MergeCustomers,
    MergePlan,
    PreviewMerge,
    SearchCustomers,
    UnmergeCustomer,
    UpdateContact,
)
from shared.contracts.notifications import EmailBounced, EmailEvent, EmailFailed, EmailHeld, EmailQueued, EmailSent
from shared.contracts.purchases import (
    PaymentRecorded,
    PurchaseRecorded,
    PurchaseStatusChanged,
    RefundCompleted,
    RefundFailed,
    RefundRequested,
)
from shared.messaging.handlers import Handlers
from shared.messaging.unit_of_work import UnitOfWork

handlers = Handlers("customers")


def _customer(command: CustomerAddress) -> str:
    return str(command.customer_id)


def _reference_number(event: EmailEvent) -> str:
    return event.reference_number


@handlers.command(CreateCustomer)
async def create_customer(command: CreateCustomer, work: UnitOfWork) -> CustomerChanged:
    return await create.create_customer(work, command)


@handlers.command(AddContact, lane=_customer)
async def add_contact(command: AddContact, work: UnitOfWork) -> CustomerChanged:
    return await change.add_contact(work, command)


@handlers.command(UpdateContact, lane=_customer)
async def update_contact(command: UpdateContact, work: UnitOfWork) -> ContactUpdated:
    return await change.update_contact(work, command)


@handlers.command(MergeContacts, lane=_customer)
async def merge_contacts(command: MergeContacts, work: UnitOfWork) -> CustomerChanged:
    return await change.merge_contacts(work, command)


@handlers.command(MergeCustomers, lane=lambda command: str(command.merged_id))
async def merge_customers(command: MergeCustomers, work: UnitOfWork) -> CustomersMerged:
    return await merge.merge_customers(work, command)


@handlers.command(UnmergeCustomer, lane=_customer)
async def unmerge_customer(command: UnmergeCustomer, work: UnitOfWork) -> CustomerChanged:
    return await undo.unmerge_customer(work, command)


@handlers.command(AnonymizeCustomer, lane=_customer)
async def anonymize_customer(command: AnonymizeCustomer, work: UnitOfWork) -> CustomerChanged:
    return await anonymize.anonymize_customer(work, command)


@handlers.query(SearchCustomers)
async def search_customers(query: SearchCustomers, work: UnitOfWork) -> CustomerPage:
    return await search.search_customers(work, query)


@handlers.query(GetCustomer)
async def get_customer(query: GetCustomer, work: UnitOfWork) -> CustomerView:
    return await view.get_customer(work, query)


@handlers.query(PreviewMerge)
async def preview_merge(query: PreviewMerge, work: UnitOfWork) -> MergePlan:
    return await merge_view.preview_merge(work, query)


@handlers.query(ListDuplicates)
async def list_duplicates(query: ListDuplicates, work: UnitOfWork) -> DuplicatePage:
    return await merge_view.list_duplicates(work, query)


@handlers.event(PurchaseRecorded, lane=lambda event: event.reference_number)
async def on_purchase_recorded(event: PurchaseRecorded, work: UnitOfWork) -> None:
    await record.record_purchase(work, event)


@handlers.event(PurchaseStatusChanged, lane=lambda event: event.reference_number)
async def on_purchase_status_changed(event: PurchaseStatusChanged, work: UnitOfWork) -> None:
    await record.record_status(work, event)


@handlers.event(PaymentRecorded, lane=lambda event: event.reference_number)
async def on_payment_recorded(event: PaymentRecorded, work: UnitOfWork) -> None:
    await record.record_payment(work, event)


@handlers.event(RefundRequested, lane=lambda event: event.reference_number)
async def on_refund_requested(event: RefundRequested, work: UnitOfWork) -> None:
    await record.record_refund_requested(work, event)


@handlers.event(RefundCompleted, lane=lambda event: event.reference_number)
async def on_refund_completed(event: RefundCompleted, work: UnitOfWork) -> None:
    await record.record_refund_ended(work, event)


@handlers.event(RefundFailed, lane=lambda event: event.reference_number)
async def on_refund_failed(event: RefundFailed, work: UnitOfWork) -> None:
    await record.record_refund_ended(work, event)


@handlers.event(EmailQueued, lane=_reference_number)
async def on_email_queued(event: EmailQueued, work: UnitOfWork) -> None:
    await record.record_mail(work, event)


@handlers.event(EmailHeld, lane=_reference_number)
async def on_email_held(event: EmailHeld, work: UnitOfWork) -> None:
    await record.record_mail(work, event)


@handlers.event(EmailSent, lane=_reference_number)
async def on_email_sent(event: EmailSent, work: UnitOfWork) -> None:
    await record.record_mail(work, event)


@handlers.event(EmailBounced, lane=_reference_number)
async def on_email_bounced(event: EmailBounced, work: UnitOfWork) -> None:
    await record.record_mail(work, event)


@handlers.event(EmailFailed, lane=_reference_number)
async def on_email_failed(event: EmailFailed, work: UnitOfWork) -> None:
    await record.record_mail(work, event)
