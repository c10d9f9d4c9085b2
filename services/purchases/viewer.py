"""Everything about one purchase."""

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from services.purchases.agreements import standing_for
from services.purchases.domain import actions
from services.purchases.models import HistoryEntry, Item, Payment, Purchase, PurchasesTables, Refund
from services.purchases.purchases import addressed, contact, money, not_found, of_client, receipt
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
from shared.staff.permitted_actions import as_permitted

NEWEST_ENTRIES = 200


async def get_purchase(work: UnitOfWork, query: GetPurchase) -> PurchaseView:
    """A purchase as it stands, with what may be done with it and why not.

    Refuses `purchase_not_found`, also for another client's purchase, and `ambiguous_client_order_id` when all
    clients are looked at and several have used the number.
    """
    address = (query.reference_number, query.client_order_id)
    found = (
        await work.session.scalars(
            select(Purchase)
            .where(*of_client(work.context.client_id), addressed(*address))
            .options(
                selectinload(Purchase.items),
                selectinload(Purchase.payments),
                selectinload(Purchase.refunds).selectinload(Refund.lines),
            )
            .limit(2)
        )
    ).all()
    if not found:
        raise not_found(*address)
    if len(found) > 1:
        raise Refused("ambiguous_client_order_id", "Several clients have used this order number.")
    entries = await work.session.scalars(
        select(HistoryEntry)
        .where(HistoryEntry.purchase_id == found[0].id)
        .order_by(HistoryEntry.id.desc())
        .limit(NEWEST_ENTRIES)
    )
    where = await standing_for(work, found[0])
    allowed = await as_permitted(work, PurchasesTables.staff, found[0].client_id, actions(where))
    return _view(found[0], allowed, tuple(_entry_view(entry) for entry in entries))


def _view(
    purchase: Purchase, allowed: tuple[AllowedAction, ...], entries: tuple[HistoryEntryView, ...]
) -> PurchaseView:
    return PurchaseView(
        **dict(receipt(purchase)),
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
        history=entries,
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
