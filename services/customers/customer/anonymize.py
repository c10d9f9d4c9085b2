"""Removing what is personal about a customer, for good. Rule: docs/domain.md, "Removing personal data"."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from services.customers.customer.rules import check_no_open_refund
from services.customers.customer.store import (
    close_change,
    family_members,
    lock_client,
    lock_customer,
    lock_customers,
    remove_search_keys,
)
from services.customers.identity.store import forget_identities
from services.customers.models import Customer, CustomersTables
from services.customers.purchase.store import PurchaseNumbers, anonymize_purchases, purchase_numbers
from services.customers.store import remove_reasons
from shared.contracts.customers import (
    REFERENCE_NUMBERS_PER_EVENT,
    AnonymizeCustomer,
    CustomerAnonymized,
    CustomerChanged,
)
from shared.contracts.personal import anonymized
from shared.messaging.anonymization import anonymize_outbox
from shared.messaging.unit_of_work import UnitOfWork


async def anonymize_customer(work: UnitOfWork, command: AnonymizeCustomer) -> CustomerChanged:
    """Nobody learns any more who this customer was, nor its aliases; what it bought and paid stays.

    Every other service does the same when it hears of it. Raises `customer_not_found`, `version_conflict`,
    `customer_anonymized`, `customer_is_alias`, `refund_open`. The reason given for it is not kept: it may name
    whom nobody is to know any more.
    """
    work = work.without_reason()
    await lock_client(work)
    customer = await lock_customer(
        work, command.customer_id, expected_version=command.expected_version, check=check_no_open_refund
    )
    members = await family_members(work, customer.id)
    family = await lock_customers(work, *members)
    purchases = await purchase_numbers(work, members)
    at = datetime.now(UTC)
    await forget_identities(work, members, at)
    await remove_search_keys(work, members)
    await anonymize_purchases(work, members)
    await remove_reasons(work, members)
    numbers, records = [purchase.reference_number for purchase in purchases], [str(member) for member in members]
    await anonymize_outbox(work.session, CustomersTables.outbox, numbers, records=records)
    for member in family.values():
        _anonymize(member, at)
        if member.id != customer.id:
            await _close(work, member, ())
    return await _close(work, customer, purchases)


def anonymized_events(customer: Customer, purchases: Sequence[PurchaseNumbers]) -> Iterator[CustomerAnonymized]:
    """Tell whoever keeps data of these purchases, by their reference numbers and the seller's order numbers."""
    for first in range(0, max(len(purchases), 1), REFERENCE_NUMBERS_PER_EVENT):
        some = purchases[first : first + REFERENCE_NUMBERS_PER_EVENT]
        yield CustomerAnonymized(
            customer_id=customer.id,
            version=customer.version,
            reference_numbers=tuple(purchase.reference_number for purchase in some),
            client_order_ids=tuple(purchase.client_order_id for purchase in some),
        )


def _anonymize(customer: Customer, at: datetime) -> None:
    customer.anonymized_at = at
    customer.customer_reference = None
    for contact in customer.contacts:
        contact.fields = anonymized(contact.fields)


async def _close(work: UnitOfWork, customer: Customer, purchases: Sequence[PurchaseNumbers]) -> CustomerChanged:
    events = partial(anonymized_events, purchases=purchases)
    return await close_change(work, customer, "customer.anonymized", {}, events=events)
