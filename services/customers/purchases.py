"""What the purchases service tells: every purchase belongs to a customer, and the profile knows how it stands."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, RowMapping

from services.customers.anonymizing import tell_anonymized
from services.customers.customers import changed, claim, line_of, search_keys, tell_update
from services.customers.domain import digest, identity_of
from services.customers.models import REFERENCE, Customer, MovementKind, MovementState
from services.customers.newcomers import Buyer, add_customer, known_by, lock_identities, matching
from services.customers.search_rules import keys_of_purchase
from services.customers.statements import ADD_PURCHASE, LOOK_UP, NOTE_BEGUN, NOTE_ENDED, NOTE_STATUS, given
from shared.contracts.purchases import (
    Contact,
    ContactRole,
    PaymentRecorded,
    PurchaseRecorded,
    PurchaseStatusChanged,
    RefundCompleted,
    RefundFailed,
    RefundRequested,
)
from shared.contracts.refusals import MissingPrerequisite
from shared.messaging.unit_of_work import UnitOfWork


async def attach_purchase(work: UnitOfWork, event: PurchaseRecorded) -> None:
    """The purchase belongs to a customer of the client: to a known one, else to a new one.

    The contacts of a known customer stay as they are. Rule: docs/domain.md, "Customers".
    """
    billing = fields_of(event.billing_contact)
    identity = identity_of(billing)
    await lock_identities(work, event.customer_reference, identity)
    found = await _look_up(work, event, identity)
    if found["attached"]:
        return
    buyer = matching(found, event.customer_reference)
    if buyer is None and found["forgotten_id"] is not None:
        await _attach_to_forgotten(work, event, found["forgotten_id"])
        return
    if buyer is None:
        buyer = await add_customer(
            work,
            customer_reference=event.customer_reference,
            currency=event.gross.currency,
            by_role={
                ContactRole.BILLING: billing,
                ContactRole.DELIVERY: fields_of(event.delivery_contact),
                ContactRole.LICENSEE: fields_of(event.licensee_contact),
            },
        )
    elif event.customer_reference and buyer.customer_reference is None:
        await _assign_reference(work, buyer.id, event.customer_reference)
    await _add_purchase(work, event, buyer, card_last4=event.card_last4)


async def _look_up(work: UnitOfWork, event: PurchaseRecorded, identity: str | None) -> RowMapping:
    """Whether the purchase is attached, else to whom it would be: a known customer, or a forgotten one that ordered
    it before it was anonymized."""
    terms = (event.customer_reference, identity)
    asked = (
        known_by(work, event.customer_reference, identity)
        | given("the", {"digests": [digest(work.context.client_id, term) for term in terms if term]})
        | given("purchase", {"id": event.purchase_id, "ordered_at": event.ordered_at})
    )
    found = (await work.session.execute(LOOK_UP, asked)).mappings().one()
    if found["anonymized_at"] is not None:
        # It was anonymized while its lock was waited for: what was read before the wait has no tombstone yet.
        found = (await work.session.execute(LOOK_UP, asked)).mappings().one()
    return found


def fields_of(contact: Contact) -> dict[str, Any]:
    """A contact as it is stored: what is empty is left out."""
    return contact.model_dump(mode="json", exclude_none=True)


async def _assign_reference(work: UnitOfWork, customer_id: UUID, reference: str) -> None:
    customer = await work.session.get_one(Customer, customer_id, populate_existing=True)
    if await claim(work, customer, REFERENCE, reference) != customer.id:
        return
    customer.customer_reference = reference
    await changed(work, customer, "customer.reference_assigned", {})
    await tell_update(work, customer, "reference_assigned", ())


async def _add_purchase(work: UnitOfWork, event: PurchaseRecorded, buyer: Buyer, card_last4: str | None) -> None:
    copied = {
        "id": event.purchase_id,
        "reference_number": event.reference_number,
        "client_order_id": event.client_order_id,
        "status": event.status,
        "status_version": event.version,
        "ordered_at": event.ordered_at,
        "currency": event.gross.currency,
        "gross": event.gross.amount,
        "card_last4": card_last4,
    }
    await work.session.execute(
        ADD_PURCHASE,
        given("the", {"client_id": work.context.client_id, "customer_id": buyer.id, "root_id": buyer.root_id})
        | given("purchase", copied)
        | search_keys(keys_of_purchase(event.reference_number, card_last4))
        | given("change", line_of(work, "purchase.attached", {"reference_number": event.reference_number})),
    )


async def _attach_to_forgotten(work: UnitOfWork, event: PurchaseRecorded, customer_id: UUID) -> None:
    """The reason that came with the purchase may tell of the person: it goes no further."""
    work = replace(work, context=replace(work.context, reason=None))
    customer = await work.session.get_one(Customer, customer_id, populate_existing=True)
    buyer = Buyer(customer.id, customer.root_id, customer.customer_reference)
    await _add_purchase(work, event, buyer, card_last4=None)
    await tell_anonymized(work, customer, [(event.reference_number, event.client_order_id)])


async def note_status(work: UnitOfWork, event: PurchaseStatusChanged) -> None:
    """The copy of the purchase stands where the purchase stands. Older news change nothing."""
    news = {"status": event.status, "status_version": event.version, "gross": event.gross.amount}
    await note_news(work, event.reference_number, NOTE_STATUS, given("news", news))


async def note_payment(work: UnitOfWork, event: PaymentRecorded) -> None:
    """Money has arrived for a purchase of the customer."""
    await _move(work, event, event.payment_id, MovementKind.PAYMENT, MovementState.DONE)


async def note_refund_requested(work: UnitOfWork, event: RefundRequested) -> None:
    """A refund is on its way, unless its end is known already."""
    await _move(work, event, event.refund_id, MovementKind.REFUND, MovementState.OPEN)


async def note_refund_ended(work: UnitOfWork, event: RefundCompleted | RefundFailed) -> None:
    """Money has gone back, or will not."""
    state = MovementState.DONE if isinstance(event, RefundCompleted) else MovementState.FAILED
    await _move(work, event, event.refund_id, MovementKind.REFUND, state)


async def _move(
    work: UnitOfWork,
    event: PaymentRecorded | RefundRequested | RefundCompleted | RefundFailed,
    movement_id: UUID,
    kind: MovementKind,
    state: MovementState,
) -> None:
    """One row for each movement; the news of its end win, in whatever order they come."""
    movement = {"id": movement_id, "kind": kind, "state": state, "amount": event.amount.amount}
    statement = NOTE_BEGUN if state is MovementState.OPEN else NOTE_ENDED
    await note_news(work, event.reference_number, statement, given("movement", movement))


async def note_news(work: UnitOfWork, reference_number: str, statement: Executable, news: dict[str, Any]) -> None:
    """Write news of a purchase of this client.

    Raises MissingPrerequisite `purchase_not_found` while the news of the purchase itself are still on their way.
    """
    whose = given("the", {"client_id": work.context.client_id, "reference_number": reference_number})
    if (await work.session.execute(statement, whose | news)).first() is None:
        raise MissingPrerequisite(
            "purchase_not_found", "There is no such purchase, or not yet.", reference_number=reference_number
        )
