"""Returning money: asking for a refund, and booking what the payment provider made of it.

The whole way is in docs/domain.md, "Refunds". Money moves in `jobs.py`, never here.
"""

from typing import Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from services.purchases import history
from services.purchases.agreements import standing_for
from services.purchases.domain import check_refundable
from services.purchases.models import Item, Line, Purchase, Refund
from services.purchases.purchases import (
    changed,
    lock_purchase,
    money,
    receipt,
    refusing,
)
from services.purchases.refund_rules import ItemStanding, RefundPlan, plan_refund
from shared.contracts.purchases import (
    RefundAccepted,
    RefundRequested,
    RefundState,
    RequestRefund,
)
from shared.contracts.refusals import Refused
from shared.messaging.unit_of_work import UnitOfWork

JOB: Final = "refunds"
_INSERT: Final = insert(Refund.__table__).on_conflict_do_nothing().returning(Refund.__table__.c.id)


async def request_refund(work: UnitOfWork, command: RequestRefund) -> RefundAccepted:
    """Promise money to the customer; it moves later, under the refund's id. The message id becomes that id.

    Refuses `purchase_not_found`, `version_conflict`, `purchase_not_paid`, `payment_type_not_refundable`,
    `refund_by_platform_only`, `refund_window_over`,
    `nothing_left_to_refund`, `exceeds_refundable_amount`, `item_not_found`, `currency_mismatch`,
    `client_refund_id_taken`, `refund_id_taken`.
    """
    purchase = await lock_purchase(work, command)
    where = await standing_for(work, purchase)
    with refusing():
        check_refundable(where)
        plan = plan_refund(
            command.kind,
            command.lines,
            [_item_standing(item) for item in purchase.items],
            currency=purchase.currency,
            left=purchase.paid - purchase.refunded,
        )
    refund = await _insert(work, purchase, command, plan)
    _promise(work, purchase, refund, plan)
    await changed(work, purchase, purchase.status)
    await _tell_of_promise(work, purchase, refund)
    work.wake(JOB)
    return RefundAccepted(
        **dict(receipt(purchase)),
        refund_id=refund.id,
        amount=money(purchase, refund.amount),
        state=refund.state,
    )


async def _tell_of_promise(work: UnitOfWork, purchase: Purchase, refund: Refund) -> None:
    await history.note_change(
        work,
        purchase,
        "refund.requested",
        {
            "refund_id": str(refund.id),
            "kind": refund.kind,
            "amount": refund.amount,
            "currency": purchase.currency,
            "reason": refund.reason,
            "remark": refund.remark,
        },
    )
    await work.publish(
        RefundRequested(
            refund_id=refund.id,
            purchase_id=purchase.id,
            reference_number=purchase.reference_number,
            kind=refund.kind,
            amount=money(purchase, refund.amount),
            reason=refund.reason,
        ),
        order_key=purchase.id,
        subject=purchase.reference_number,
    )


def _item_standing(item: Item) -> ItemStanding:
    return ItemStanding(
        running_number=item.running_number,
        quantity=item.quantity,
        unit_price=item.unit_price,
        gross=item.gross,
        tax=item.tax,
        refunded=item.refunded,
        refunded_tax=item.refunded_tax,
        refunded_quantity=item.refunded_quantity,
    )


async def _insert(work: UnitOfWork, purchase: Purchase, command: RequestRefund, plan: RefundPlan) -> Refund:
    """Store the intent. What it returns is what was written and no part of the session: the job changes it, later."""
    if work.context.message_id is None:
        raise ValueError("a command has a message id")
    row = {
        "id": work.context.message_id,
        "purchase_id": purchase.id,
        "client_id": purchase.client_id,
        "client_refund_id": command.client_refund_id,
        "kind": command.kind,
        "state": RefundState.REQUESTED,
        "amount": plan.amount,
        "tax": plan.tax,
        "reason": command.reason,
        "remark": command.remark,
        "notify_customer": command.notify_customer,
        "attempts": 0,
        "actor": work.context.actor,
        "correlation_id": work.context.correlation_id,
        "traceparent": work.context.traceparent,
        "reason_given": None if purchase.anonymized_at else work.context.reason,
    }
    with work.session.no_autoflush:  # What others of the batch have changed is written together with this.
        inserted = await work.session.scalar(_INSERT, row)
    if inserted is None:
        raise await _taken(work, command)
    return Refund(**row)


async def _taken(work: UnitOfWork, command: RequestRefund) -> Refused:
    """Which of the two unique numbers of a refund was used before."""
    earlier = (
        await work.session.execute(
            select(Refund.id, Purchase.reference_number)
            .join(Purchase, Purchase.id == Refund.purchase_id)
            .where(
                Refund.client_id == work.context.client_id,
                Refund.client_refund_id == command.client_refund_id,
                Refund.client_refund_id.is_not(None),
            )
        )
    ).one_or_none()
    if earlier is None:
        return Refused("refund_id_taken", "A refund with this message id exists; a new refund needs a new id.")
    return Refused(
        "client_refund_id_taken",
        "This refund has been requested before.",
        client_refund_id=command.client_refund_id,
        refund_id=str(earlier.id),
        reference_number=earlier.reference_number,
    )


def _promise(work: UnitOfWork, purchase: Purchase, refund: Refund, plan: RefundPlan) -> None:
    """Count the money as refunded at once, so that nobody can promise it a second time."""
    work.insert_later(
        Line.__table__,
        *(
            {
                "refund_id": refund.id,
                "purchase_id": purchase.id,
                "running_number": line.running_number,
                "quantity": line.quantity,
                "amount": line.amount,
                "tax": line.tax,
            }
            for line in plan.lines
        ),
    )
    purchase.refunded += plan.amount
    items = {item.running_number: item for item in purchase.items}
    for line in plan.lines:
        item = items[line.running_number]
        item.refunded += line.amount
        item.refunded_tax += line.tax
        item.refunded_quantity += line.quantity
