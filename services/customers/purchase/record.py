"""What other services tell of a purchase: whose it is, how it stands, what was paid and mailed."""

from datetime import UTC, datetime
from uuid import UUID

from services.customers.customer.anonymize import anonymized_events
from services.customers.customer.create import add_customer
from services.customers.customer.store import close_change, read_customer
from services.customers.identity.rules import identity_of
from services.customers.identity.store import KnownCustomer, claim_identity, lock_identities
from services.customers.models import REFERENCE, Facts, MovementKind, MovementState
from services.customers.purchase.store import (
    PurchaseNumbers,
    add_announcement,
    begin_movement,
    end_movement,
    find_owner,
    insert_purchase,
    set_status,
)
from shared.contracts.customers import CustomerUpdated
from shared.contracts.notifications import EmailBounced, EmailEvent, EmailFailed, EmailSent
from shared.contracts.purchases import (
    ContactRole,
    PaymentRecorded,
    PurchaseRecorded,
    PurchaseStatusChanged,
    RefundCompleted,
    RefundFailed,
    RefundRequested,
)
from shared.messaging.unit_of_work import UnitOfWork


async def record_purchase(work: UnitOfWork, event: PurchaseRecorded) -> None:
    """The purchase belongs to a customer of the client: to a known one, else to a new one.

    The contacts of a known customer stay as they are. Rule: docs/domain.md, "Customers".
    """
    by_role = {
        ContactRole.BILLING: event.billing_contact.model_dump(mode="json", exclude_none=True),
        ContactRole.DELIVERY: event.delivery_contact.model_dump(mode="json", exclude_none=True),
        ContactRole.LICENSEE: event.licensee_contact.model_dump(mode="json", exclude_none=True),
    }
    identity = identity_of(by_role[ContactRole.BILLING])
    await lock_identities(work, event.customer_reference, identity)
    owner = await find_owner(work, event, identity)
    if owner.has_purchase:
        return
    customer = owner.customer
    if customer is None and owner.forgotten_id is not None:
        await _record_of_forgotten(work, event, owner.forgotten_id)
        return
    if customer is None:
        customer = await add_customer(
            work, customer_reference=event.customer_reference, currency=event.gross.currency, by_role=by_role
        )
    elif event.customer_reference and customer.customer_reference is None:
        await _assign_reference(work, customer, event.customer_reference)
    await insert_purchase(work, event, customer, card_last4=event.card_last4)


async def _assign_reference(work: UnitOfWork, known: KnownCustomer, reference: str) -> None:
    customer = await read_customer(work, known.id)
    if await claim_identity(work, customer, REFERENCE, reference) != customer.id:
        return
    customer.customer_reference = reference
    await close_change(
        work,
        customer,
        "customer.reference_assigned",
        {},
        events=lambda customer: [
            CustomerUpdated(customer_id=customer.id, version=customer.version, change="reference_assigned", roles=())
        ],
    )


async def _record_of_forgotten(work: UnitOfWork, event: PurchaseRecorded, customer_id: UUID) -> None:
    """The reason that came with the purchase may tell of the person: it goes no further."""
    work = work.without_reason()
    customer = await read_customer(work, customer_id)
    known = KnownCustomer(customer.id, customer.root_id, customer.customer_reference)
    await insert_purchase(work, event, known, card_last4=None)
    for anonymized in anonymized_events(customer, [PurchaseNumbers(event.reference_number, event.client_order_id)]):
        await work.publish(anonymized, order_key=customer.id)


async def record_status(work: UnitOfWork, event: PurchaseStatusChanged) -> None:
    """The copy of the purchase stands where the purchase stands. Older news change nothing."""
    await set_status(
        work, event.reference_number, status=event.status, status_version=event.version, gross=event.gross.amount
    )


async def record_payment(work: UnitOfWork, event: PaymentRecorded) -> None:
    """Money has arrived for a purchase of the customer."""
    await end_movement(
        work,
        event.reference_number,
        movement_id=event.payment_id,
        kind=MovementKind.PAYMENT,
        state=MovementState.DONE,
        amount=event.amount.amount,
    )


async def record_refund_requested(work: UnitOfWork, event: RefundRequested) -> None:
    """A refund is on its way, unless its end is known already."""
    await begin_movement(
        work,
        event.reference_number,
        movement_id=event.refund_id,
        kind=MovementKind.REFUND,
        amount=event.amount.amount,
    )


async def record_refund_ended(work: UnitOfWork, event: RefundCompleted | RefundFailed) -> None:
    """Money has gone back, or will not."""
    await end_movement(
        work,
        event.reference_number,
        movement_id=event.refund_id,
        kind=MovementKind.REFUND,
        state=MovementState.DONE if isinstance(event, RefundCompleted) else MovementState.FAILED,
        amount=event.amount.amount,
    )


async def record_mail(work: UnitOfWork, event: EmailEvent) -> None:
    """A mail about a purchase was queued, held, sent, bounced or given up: a line in the profile of who bought it.

    The line is named like the event, by noun and verb.
    """
    facts: Facts = {"email_id": str(event.email_id), "email_type": event.email_type.value, "title": event.subject}
    at = datetime.now(UTC)
    if isinstance(event, EmailSent):
        facts, at = facts | {"attempt": event.attempt}, event.sent_at
    elif isinstance(event, EmailBounced | EmailFailed):
        facts |= {"reason": event.reason}
    subject = ".".join(type(event).key.split(".")[1:3])
    await add_announcement(work, event.reference_number, at=at, subject=subject, facts=facts)
