"""Asking for a refund: the money is promised here, and moves later, in the job of `job.py`.

The whole way is in docs/domain.md, "Refunds".
"""

from uuid import UUID

from services.purchases.history.store import Entry
from services.purchases.models import Item, Purchase
from services.purchases.purchase.messages import money, reply
from services.purchases.purchase.store import close_change, lock_purchase
from services.purchases.refund.job import JOB
from services.purchases.refund.rules import RefundableItem, RefundPlan, check_refundable, plan_refund
from services.purchases.refund.store import facts_for_refund, insert_refund
from shared.contracts.purchases import RefundAccepted, RefundRequested, RefundState, RequestRefund
from shared.messaging.unit_of_work import UnitOfWork


async def request_refund(work: UnitOfWork, command: RequestRefund) -> RefundAccepted:
    """Promise money to the customer; it moves later, under the refund's id. The message id becomes that id.

    Refuses `purchase_not_found`, `version_conflict`, `purchase_not_paid`, `payment_type_not_refundable`,
    `refund_by_platform_only`, `refund_window_over`,
    `nothing_left_to_refund`, `exceeds_refundable_amount`, `item_not_found`, `currency_mismatch`,
    `client_refund_id_taken`, `refund_id_taken`.
    """
    purchase = await lock_purchase(work, command)
    check_refundable(await facts_for_refund(work, purchase))
    plan = plan_refund(
        command.kind,
        command.lines,
        [_refundable(item) for item in purchase.items],
        currency=purchase.currency,
        left=purchase.paid - purchase.refunded,
    )
    refund_id = await insert_refund(work, purchase, command, plan)
    _promise(purchase, plan)
    amount = money(purchase, plan.amount)
    event = RefundRequested(
        refund_id=refund_id,
        purchase_id=purchase.id,
        reference_number=purchase.reference_number,
        kind=command.kind,
        amount=amount,
        reason=command.reason,
    )
    entry = _entry(purchase, refund_id, command, plan)
    await close_change(work, purchase, purchase.status, history=entry, events=[event])
    work.wake(JOB)
    return RefundAccepted(**dict(reply(purchase)), refund_id=refund_id, amount=amount, state=RefundState.REQUESTED)


def _refundable(item: Item) -> RefundableItem:
    return RefundableItem(
        running_number=item.running_number,
        quantity=item.quantity,
        unit_price=item.unit_price,
        gross=item.gross,
        tax=item.tax,
        refunded=item.refunded,
        refunded_tax=item.refunded_tax,
        refunded_quantity=item.refunded_quantity,
    )


def _promise(purchase: Purchase, plan: RefundPlan) -> None:
    """Count the money as refunded at once, so that nobody can promise it a second time."""
    purchase.refunded += plan.amount
    items = {item.running_number: item for item in purchase.items}
    for line in plan.lines:
        item = items[line.running_number]
        item.refunded += line.amount
        item.refunded_tax += line.tax
        item.refunded_quantity += line.quantity


def _entry(purchase: Purchase, refund_id: UUID, command: RequestRefund, plan: RefundPlan) -> Entry:
    return Entry(
        "refund.requested",
        {
            "refund_id": str(refund_id),
            "kind": command.kind,
            "amount": plan.amount,
            "currency": purchase.currency,
            "reason": command.reason,
            "remark": command.remark,
        },
    )
