"""Everything about one customer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import selectinload

from services.customers.contact.rules import check_add_contact, check_merge_contacts
from services.customers.customer.rules import CustomerState, check_changeable, check_no_open_refund
from services.customers.customer.store import customer_not_found, family_members, read_state
from services.customers.merge.rules import check_unmerge
from services.customers.models import (
    Announcement,
    Change,
    ContactRow,
    Customer,
    CustomerPurchase,
    CustomersTables,
    Movement,
    MovementKind,
    MovementState,
)
from shared.contracts.customers import (
    AliasView,
    AnnouncementView,
    ContactDetails,
    ContactView,
    CustomerChangeView,
    CustomerPurchaseView,
    CustomerTotals,
    CustomerView,
    GetCustomer,
)
from shared.contracts.refusals import Refused, actions
from shared.contracts.values import AllowedAction, Money
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import visible_to
from shared.staff.permitted_actions import as_permitted

NEWEST: Final = 100
_Checks = Mapping[str, Callable[[CustomerState], None]]
CUSTOMER_CHECKS: Final[_Checks] = {
    "contact.update": check_changeable,
    "contact.add": check_add_contact,
    "contacts.merge": check_merge_contacts,
    "customer.merge": check_no_open_refund,
    "customer.anonymize": check_no_open_refund,
}
ALIAS_CHECKS: Final[_Checks] = {"customer.unmerge": check_unmerge}


async def get_customer(work: UnitOfWork, query: GetCustomer) -> CustomerView:
    """A customer with its contacts, purchases, what was announced about them, and what may be done and why not.

    An alias is shown with what came to it alone, and says into whom it was merged. Raises `customer_not_found`, also
    for another client's, and `ambiguous_customer_reference` when all clients are looked at and several have used it.
    """
    customer = await _find(work, query)
    members = await family_members(work, customer.id)
    return CustomerView(
        customer_id=customer.id,
        version=customer.version,
        client_id=customer.client_id,
        kind=customer.kind,
        customer_reference=customer.customer_reference,
        currency=customer.currency,
        created_at=customer.created_at,
        changed_at=customer.changed_at,
        changed_by=customer.changed_by,
        anonymized_at=customer.anonymized_at,
        merged_into=customer.merged_into_id,
        contacts=contact_views(customer),
        totals=await _totals(work, members),
        purchases=await _purchases(work, members),
        announcements=await _announcements(work, members),
        history=await _history(work, customer.id),
        aliases=await _aliases(work, [member for member in members if member != customer.id]),
        actions=await _actions(work, customer, CUSTOMER_CHECKS),
    )


async def _find(work: UnitOfWork, query: GetCustomer) -> Customer:
    statement = (
        select(Customer)
        .where(*visible_to(work.context.client_id, Customer.client_id))
        .options(selectinload(Customer.contacts))
    )
    if query.customer_id is not None:
        statement = statement.where(Customer.id == query.customer_id)
    elif query.customer_reference is not None:
        statement = statement.where(Customer.customer_reference == query.customer_reference)
    else:
        owner = (
            select(Customer.root_id)
            .join(CustomerPurchase, CustomerPurchase.customer_id == Customer.id)
            .where(CustomerPurchase.reference_number == query.reference_number)
        )
        statement = statement.where(Customer.id.in_(owner))
    found = (await work.session.scalars(statement.limit(2))).all()
    if not found:
        raise customer_not_found(
            customer_id=str(query.customer_id) if query.customer_id else None,
            reference_number=query.reference_number,
        )
    if len(found) > 1:
        raise Refused("ambiguous_customer_reference", "Several clients have used this reference.")
    return found[0]


def contact_views(customer: Customer) -> tuple[ContactView, ...]:
    """The contacts that have a role, in the order of the roles."""
    with_roles = [contact for contact in customer.contacts if contact.roles]
    return tuple(_contact_view(contact) for contact in sorted(with_roles, key=lambda contact: contact.roles))


def _contact_view(row: ContactRow) -> ContactView:
    """A stored contact. It was valid when it came; a stricter rule of today must not make it unreadable."""
    contact = ContactDetails.model_construct(**row.fields)
    return ContactView.model_construct(contact_id=row.id, roles=row.roles, contact=contact)


def _money_of(kind: MovementKind, state: MovementState) -> Any:
    return func.coalesce(func.sum(Movement.amount).filter(Movement.kind == kind, Movement.state == state), 0)


def _with_money(members: Sequence[UUID]) -> Select[Any]:
    """Purchases of these records, each with what was paid and what has gone back."""
    is_open = case((Movement.state == MovementState.OPEN, 1), else_=0)
    return (
        select(
            CustomerPurchase,
            _money_of(MovementKind.PAYMENT, MovementState.DONE).label("paid"),
            _money_of(MovementKind.REFUND, MovementState.DONE).label("refunded"),
            func.coalesce(func.sum(is_open), 0).label("open_refunds"),
        )
        .outerjoin(Movement, Movement.purchase_id == CustomerPurchase.id)
        .where(CustomerPurchase.customer_id.in_(members))
        .group_by(CustomerPurchase.id)
    )


async def _purchases(work: UnitOfWork, members: Sequence[UUID]) -> tuple[CustomerPurchaseView, ...]:
    newest = (
        select(CustomerPurchase.id)
        .where(CustomerPurchase.customer_id.in_(members))
        .order_by(CustomerPurchase.ordered_at.desc(), CustomerPurchase.id.desc())
        .limit(NEWEST)
    )
    rows = await work.session.execute(
        _with_money(members)
        .where(CustomerPurchase.id.in_(newest))
        .order_by(CustomerPurchase.ordered_at.desc(), CustomerPurchase.id.desc())
    )
    return tuple(
        CustomerPurchaseView(
            purchase_id=purchase.id,
            reference_number=purchase.reference_number,
            client_order_id=purchase.client_order_id,
            customer_id=purchase.customer_id,
            status=purchase.status,
            ordered_at=purchase.ordered_at,
            gross=Money(amount=purchase.gross, currency=purchase.currency),
            paid=Money(amount=int(paid), currency=purchase.currency),
            refunded=Money(amount=int(refunded), currency=purchase.currency),
            open_refunds=int(open_refunds),
            card_last4=purchase.card_last4,
        )
        for purchase, paid, refunded, open_refunds in rows
    )


async def _totals(work: UnitOfWork, members: Sequence[UUID]) -> tuple[CustomerTotals, ...]:
    purchases = (
        select(CustomerPurchase.currency, func.count(), func.sum(CustomerPurchase.gross))
        .where(CustomerPurchase.customer_id.in_(members))
        .group_by(CustomerPurchase.currency)
        .order_by(CustomerPurchase.currency)
    )
    moved = (
        select(
            CustomerPurchase.currency,
            _money_of(MovementKind.PAYMENT, MovementState.DONE),
            _money_of(MovementKind.REFUND, MovementState.DONE),
        )
        .join(Movement, Movement.purchase_id == CustomerPurchase.id)
        .where(CustomerPurchase.customer_id.in_(members))
        .group_by(CustomerPurchase.currency)
    )
    money = {currency: (int(paid), int(back)) for currency, paid, back in await work.session.execute(moved)}
    totals = []
    for currency, count, gross in await work.session.execute(purchases):
        paid, refunded = money.get(currency, (0, 0))
        totals.append(
            CustomerTotals(
                purchases=count,
                gross=Money(amount=int(gross), currency=currency),
                paid=Money(amount=paid, currency=currency),
                refunded=Money(amount=refunded, currency=currency),
            )
        )
    return tuple(totals)


async def _announcements(work: UnitOfWork, members: Sequence[UUID]) -> tuple[AnnouncementView, ...]:
    rows = await work.session.execute(
        select(Announcement, CustomerPurchase.reference_number)
        .join(CustomerPurchase, CustomerPurchase.id == Announcement.purchase_id)
        .where(CustomerPurchase.customer_id.in_(members))
        .order_by(Announcement.at.desc(), Announcement.id.desc())
        .limit(NEWEST)
    )
    return tuple(
        AnnouncementView(at=row.at, subject=row.subject, reference_number=reference_number, facts=row.facts)
        for row, reference_number in rows
    )


async def _history(work: UnitOfWork, customer_id: UUID) -> tuple[CustomerChangeView, ...]:
    rows = await work.session.scalars(
        select(Change).where(Change.customer_id == customer_id).order_by(Change.id.desc()).limit(NEWEST)
    )
    return tuple(CustomerChangeView(at=row.at, actor=row.actor, subject=row.subject, facts=row.facts) for row in rows)


async def _aliases(work: UnitOfWork, members: Sequence[UUID]) -> tuple[AliasView, ...]:
    rows = await work.session.scalars(
        select(Customer)
        .where(Customer.id.in_(members))
        .order_by(Customer.merged_at, Customer.id)
        .options(selectinload(Customer.contacts))
        .limit(NEWEST)
    )
    return tuple([await _alias_view(work, row) for row in rows])


async def _actions(work: UnitOfWork, customer: Customer, checks: _Checks) -> tuple[AllowedAction, ...]:
    allowed = actions(await read_state(work, customer), checks)
    return await as_permitted(work, CustomersTables.staff, customer.client_id, allowed)


async def _alias_view(work: UnitOfWork, row: Customer) -> AliasView:
    if row.merged_into_id is None or row.merged_at is None or row.merged_by is None:
        raise LookupError("an alias knows into whom it was merged")
    return AliasView.model_construct(
        customer_id=row.id,
        merged_into=row.merged_into_id,
        customer_reference=row.customer_reference,
        merged_at=row.merged_at,
        merged_by=row.merged_by,
        contacts=contact_views(row),
        actions=await _actions(work, row, ALIAS_CHECKS),
    )
