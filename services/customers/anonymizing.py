"""Removing what is personal about a customer, for good. Rule: docs/domain.md, "Removing personal data"."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from services.customers.customers import REASON_GIVEN, changed, lock_customers, lock_for, one_at_a_time, receipt
from services.customers.customers import family as family_of
from services.customers.domain import Action, digest, kept_facts
from services.customers.models import (
    Announcement,
    Change,
    Customer,
    CustomerPurchase,
    CustomersTables,
    Identity,
    SearchKey,
    Tombstone,
)
from services.customers.search_rules import KeyKind
from shared.contracts.customers import (
    REFERENCE_NUMBERS_PER_EVENT,
    AnonymizeCustomer,
    CustomerAnonymized,
    CustomerChanged,
)
from shared.contracts.personal import REMOVED, anonymized
from shared.messaging.anonymization import anonymize_outbox
from shared.messaging.unit_of_work import UnitOfWork


async def anonymize_customer(work: UnitOfWork, command: AnonymizeCustomer) -> CustomerChanged:
    """Nobody learns any more who this customer was, nor its aliases; what it bought and paid stays.

    Every other service does the same when it hears of it. Raises `customer_not_found`, `version_conflict`,
    `customer_anonymized`, `customer_is_alias`, `refund_open`. The reason given for it is not kept: it may name
    whom nobody is to know any more.
    """
    work = replace(work, context=replace(work.context, reason=None))
    await one_at_a_time(work)
    customer = await lock_for(work, Action.ANONYMIZE, command.customer_id, command.expected_version)
    members = (await work.session.scalars(family_of(customer.id))).all()
    family = await lock_customers(work, *members)
    purchases = (
        await work.session.execute(
            select(CustomerPurchase.reference_number, CustomerPurchase.client_order_id)
            .where(CustomerPurchase.customer_id.in_(members))
            .order_by(CustomerPurchase.reference_number)
        )
    ).all()
    at = datetime.now(UTC)
    await _bury(work, members, at)
    await _erase(work, members, [reference_number for reference_number, _ in purchases])
    for member in family.values():
        member.anonymized_at = at
        member.customer_reference = None
        for contact in member.contacts:
            contact.fields = anonymized(contact.fields)
        await changed(work, member, "customer.anonymized", {})
        if member.id != customer.id:
            await tell_anonymized(work, member, ())
    await tell_anonymized(work, customer, [(number, order_id) for number, order_id in purchases])
    return receipt(customer)


async def tell_anonymized(work: UnitOfWork, customer: Customer, purchases: Iterable[tuple[str, str]]) -> None:
    """Tell whoever keeps data of these purchases, by their reference numbers and the seller's order numbers."""
    rest = list(purchases)
    while True:
        some, rest = rest[:REFERENCE_NUMBERS_PER_EVENT], rest[REFERENCE_NUMBERS_PER_EVENT:]
        await work.publish(
            CustomerAnonymized(
                customer_id=customer.id,
                version=customer.version,
                reference_numbers=tuple(number for number, _ in some),
                client_order_ids=tuple(order_id for _, order_id in some),
            ),
            order_key=customer.id,
        )
        if not rest:
            return


async def _bury(work: UnitOfWork, members: Sequence[UUID], at: datetime) -> None:
    """Of what the customer was known by only digests stay, so that late messages are recognized."""
    known_by = (await work.session.scalars(select(Identity).where(Identity.customer_id.in_(members)))).all()
    if known_by:
        graves = [
            {"digest": digest(row.client_id, row.term), "customer_id": row.customer_id, "at": at} for row in known_by
        ]
        statement = insert(Tombstone)
        await work.session.execute(
            statement.on_conflict_do_update(
                index_elements=["digest"],
                set_={"at": statement.excluded.at, "customer_id": statement.excluded.customer_id},
            ),
            graves,
        )
    await work.session.execute(delete(Identity).where(Identity.customer_id.in_(members)))


async def _erase(work: UnitOfWork, members: Sequence[UUID], reference_numbers: Sequence[str]) -> None:
    """Personal data beside the contacts. By its reference numbers the customer is still found."""
    await work.session.execute(
        delete(SearchKey).where(SearchKey.customer_id.in_(members), SearchKey.kind != KeyKind.REFERENCE_NUMBER)
    )
    await work.session.execute(
        update(CustomerPurchase).where(CustomerPurchase.customer_id.in_(members)).values(card_last4=None)
    )
    of_members = select(CustomerPurchase.id).where(CustomerPurchase.customer_id.in_(members))
    announcements = await work.session.scalars(select(Announcement).where(Announcement.purchase_id.in_(of_members)))
    for announcement in announcements:
        announcement.facts = kept_facts(announcement.facts)
    reasons = update(Change).where(Change.customer_id.in_(members), Change.facts.has_key(REASON_GIVEN))
    await work.session.execute(reasons.values(facts=Change.facts.concat({REASON_GIVEN: REMOVED})))
    await anonymize_outbox(
        work.session, CustomersTables.outbox, reference_numbers, records=[str(member) for member in members]
    )
