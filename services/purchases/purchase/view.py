"""Everything about one purchase."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import selectinload

from services.purchases.models import HistoryEntry, Item, Payment, Purchase, PurchasesTables, Refund
from services.purchases.purchase.actions import actions
from services.purchases.purchase.messages import contact, money, reply
from services.purchases.purchase.store import not_found
from services.purchases.refund.store import facts_for_refund
from shared.contracts.purchases import (
    GetPurchase,
    HistoryEntryView,
    ItemView,
    PaymentView,
    PurchaseView,
    RefundLine,
    RefundView,
)
from shared.contracts.refusals import Refused
from shared.contracts.values import AllowedAction
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import visible_to
from shared.staff.permitted_actions import as_permitted

NEWEST_ENTRIES = 200


async def get_purchase(work: UnitOfWork, query: GetPurchase) -> PurchaseView:
    """A purchase as it stands, with what may be done with it and why not.

    Refuses `purchase_not_found`, also for another client's purchase, and `ambiguous_client_order_id` when all
    clients are looked at and several have used the number.
    """
    found = await _find(work, query)
    if not found:
        raise not_found(query.reference_number, query.client_order_id)
    if len(found) > 1:
        raise Refused("ambiguous_client_order_id", "Several clients have used this order number.")
    entries = await _newest_entries(work, found[0])
    facts = await facts_for_refund(work, found[0])
    allowed = await as_permitted(work, PurchasesTables.staff, found[0].client_id, actions(facts))
    return _view(found[0], allowed, entries)


async def _find(work: UnitOfWork, query: GetPurchase) -> Sequence[Purchase]:
    """The purchase with everything; two of them where the number is not enough."""
    statement = (
        select(Purchase)
        .where(*visible_to(work.context.client_id, Purchase.client_id), _addressed(query))
        .options(
            selectinload(Purchase.items),
            selectinload(Purchase.payments),
            selectinload(Purchase.refunds).selectinload(Refund.lines),
        )
        .limit(2)
    )
    return (await work.session.scalars(statement)).all()


def _addressed(query: GetPurchase) -> ColumnElement[bool]:
    if query.reference_number is not None:
        return Purchase.reference_number == query.reference_number
    return Purchase.client_order_id == query.client_order_id


async def _newest_entries(work: UnitOfWork, purchase: Purchase) -> Sequence[HistoryEntry]:
    statement = (
        select(HistoryEntry)
        .where(HistoryEntry.purchase_id == purchase.id)
        .order_by(HistoryEntry.id.desc())
        .limit(NEWEST_ENTRIES)
    )
    return (await work.session.scalars(statement)).all()


def _view(purchase: Purchase, allowed: tuple[AllowedAction, ...], entries: Sequence[HistoryEntry]) -> PurchaseView:
    return PurchaseView(
        **dict(reply(purchase)),
        client_order_id=purchase.client_order_id,
        ordered_at=purchase.ordered_at,
        paid_at=purchase.paid_at,
        payment_type=purchase.payment_type,
        card_last4=purchase.card_last4,
        customer_reference=purchase.customer_reference,
        billing_contact=contact(purchase.billing_contact),
        delivery_contact=contact(purchase.delivery_contact),
        licensee_contact=contact(purchase.licensee_contact),
        gross=money(purchase, purchase.gross),
        paid=money(purchase, purchase.paid),
        refunded=money(purchase, purchase.refunded),
        items=tuple(_item_view(purchase, item) for item in purchase.items),
        payments=tuple(_payment_view(purchase, payment) for payment in purchase.payments),
        refunds=tuple(_refund_view(purchase, refund) for refund in purchase.refunds),
        history=tuple(_entry_view(entry) for entry in entries),
        actions=allowed,
    )


def _item_view(purchase: Purchase, item: Item) -> ItemView:
    return ItemView(
        running_number=item.running_number,
        product_id=item.product_id,
        product_name=item.product_name,
        quantity=item.quantity,
        unit_price=money(purchase, item.unit_price),
        tax_rate=item.tax_rate,
        gross=money(purchase, item.gross),
        refunded_quantity=item.refunded_quantity,
        refunded=money(purchase, item.refunded),
        remaining=money(purchase, item.gross - item.refunded),
    )


def _payment_view(purchase: Purchase, payment: Payment) -> PaymentView:
    return PaymentView(
        payment_id=payment.id,
        amount=money(purchase, payment.amount),
        paid_at=payment.paid_at,
        provider_reference=payment.provider_reference,
    )


def _refund_view(purchase: Purchase, refund: Refund) -> RefundView:
    return RefundView(
        refund_id=refund.id,
        kind=refund.kind,
        state=refund.state,
        amount=money(purchase, refund.amount),
        reason=refund.reason,
        remark=refund.remark,
        client_refund_id=refund.client_refund_id,
        requested_by=refund.actor,
        requested_at=refund.requested_at,
        completed_at=refund.completed_at,
        failure=refund.failure,
        lines=tuple(
            RefundLine(
                running_number=line.running_number,
                quantity=line.quantity or None,
                amount=money(purchase, line.amount),
            )
            for line in refund.lines
        ),
    )


def _entry_view(entry: HistoryEntry) -> HistoryEntryView:
    return HistoryEntryView(
        entry_id=entry.id,
        at=entry.at,
        actor=entry.actor,
        is_manual=entry.is_manual,
        subject=entry.subject,
        facts=entry.facts,
    )
