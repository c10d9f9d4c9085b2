"""Returning money: asking for a refund, and booking what the payment provider made of it.

The whole way is in docs/domain.md, "Refunds". Money moves in `jobs.py`, never here.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy import insert as insert_rows
from sqlalchemy.dialects.postgresql import insert

from services.purchases import history
from services.purchases.agreements import standing_for
from services.purchases.domain import check_refundable, status_after_refund
from services.purchases.models import Item, Line, Purchase, Refund
from services.purchases.payout import OutcomeUnknown, PaidOut, PayoutOutcome, PayoutRefused
from services.purchases.purchases import (
    changed,
    contact,
    lock_purchase,
    lock_purchase_by_id,
    money,
    receipt,
    refusing,
)
from services.purchases.refund_rules import ItemStanding, RefundPlan, plan_refund
from shared.contracts.errorlog import PurchasesErrorRaised
from shared.contracts.purchases import (
    ReceiptLine,
    RefundAccepted,
    RefundCompleted,
    RefundFailed,
    RefundRequested,
    RefundState,
    RequestRefund,
)
from shared.errors import Refused
from shared.messaging import leases
from shared.messaging.work import Work

JOB: Final = "refunds"
ASK_AGAIN: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=5),
    timedelta(hours=1),
)
"""How long after an unknown outcome the provider is asked again; the last one repeats."""
TOO_LONG: Final = timedelta(days=1)
"""A refund without an outcome for longer than this is an error that a person sees."""
_INSERT: Final = insert(Refund.__table__).on_conflict_do_nothing().returning(Refund.__table__.c.id)
_INSERT_LINES: Final = insert_rows(Line.__table__)
_ITEM_OF_LINE: Final = and_(Item.purchase_id == Line.purchase_id, Item.running_number == Line.running_number)
_PRINTED_LINES: Final = (
    select(Item.product_name, Line.quantity, Line.amount)
    .join(Item, _ITEM_OF_LINE)
    .where(Line.refund_id == bindparam("refund_id"))
    .order_by(Line.running_number)
)


async def request_refund(work: Work, command: RequestRefund) -> RefundAccepted:
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
    await _promise(work, purchase, refund, plan)
    await changed(work, purchase, purchase.status)
    await _tell_of_promise(work, purchase, refund)
    work.wake(JOB)
    return RefundAccepted(
        **dict(receipt(purchase)),
        refund_id=refund.id,
        amount=money(purchase, refund.amount),
        state=refund.state,
    )


async def _tell_of_promise(work: Work, purchase: Purchase, refund: Refund) -> None:
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
        record=purchase.id,
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


async def _insert(work: Work, purchase: Purchase, command: RequestRefund, plan: RefundPlan) -> Refund:
    """Store the intent. What it returns is what was written and no part of the session: the job changes it, later."""
    if work.origin.message_id is None:
        raise ValueError("a command has a message id")
    row = {
        "id": work.origin.message_id,
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
        "actor": work.origin.actor,
        "correlation_id": work.origin.correlation_id,
        "traceparent": work.origin.traceparent,
        "reason_given": None if purchase.anonymized_at else work.origin.reason,
    }
    if await work.session.scalar(_INSERT, row) is None:
        raise await _taken(work, command)
    return Refund(**row)


async def _taken(work: Work, command: RequestRefund) -> Refused:
    """Which of the two unique numbers of a refund was used before."""
    earlier = (
        await work.session.execute(
            select(Refund.id, Purchase.reference_number)
            .join(Purchase, Purchase.id == Refund.purchase_id)
            .where(
                Refund.client_id == work.origin.client_id,
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


async def _promise(work: Work, purchase: Purchase, refund: Refund, plan: RefundPlan) -> None:
    """Count the money as refunded at once, so that nobody can promise it a second time."""
    await work.session.execute(
        _INSERT_LINES,
        [
            {
                "refund_id": refund.id,
                "purchase_id": purchase.id,
                "running_number": line.running_number,
                "quantity": line.quantity,
                "amount": line.amount,
                "tax": line.tax,
            }
            for line in plan.lines
        ],
    )
    purchase.refunded += plan.amount
    items = {item.running_number: item for item in purchase.items}
    for line in plan.lines:
        item = items[line.running_number]
        item.refunded += line.amount
        item.refunded_tax += line.tax
        item.refunded_quantity += line.quantity


async def settle_refund(work: Work, purchase_id: UUID, refund_id: UUID, token: UUID, outcome: PayoutOutcome) -> bool:
    """Book what the provider did. False if the lease was lost meanwhile: then another worker settles it."""
    purchase = await lock_purchase_by_id(work, purchase_id)
    refund = await leases.held(work.session, Refund, refund_id, token)
    if refund is None or refund.state not in Refund.OPEN:
        return False
    leases.release(refund)
    match outcome:
        case PaidOut():
            await _complete(work, purchase, refund, outcome)
        case PayoutRefused():
            await _fail(work, purchase, refund, outcome)
        case OutcomeUnknown():
            await _ask_again_later(work, purchase, refund, outcome)
    return True


async def _complete(work: Work, purchase: Purchase, refund: Refund, outcome: PaidOut) -> None:
    refund.state = RefundState.COMPLETED
    refund.completed_at = outcome.at
    refund.provider_reference = outcome.provider_reference
    purchase.returned += refund.amount
    status = status_after_refund(purchase.status, purchase.paid, purchase.returned)
    await changed(work, purchase, status)
    await _note_outcome(work, purchase, refund)
    await work.publish(
        RefundCompleted(
            refund_id=refund.id,
            purchase_id=purchase.id,
            reference_number=purchase.reference_number,
            kind=refund.kind,
            amount=money(purchase, refund.amount),
            tax=money(purchase, refund.tax),
            reason=refund.reason,
            completed_at=outcome.at,
            remaining=money(purchase, purchase.paid - purchase.returned),
            payment_type=purchase.payment_type,
            card_last4=purchase.card_last4,
            notify_customer=refund.notify_customer,
            billing_contact=contact(purchase.billing_contact),
            lines=await _receipt_lines(work, purchase, refund),
        ),
        record=purchase.id,
        subject=purchase.reference_number,
    )


async def _fail(work: Work, purchase: Purchase, refund: Refund, outcome: PayoutRefused) -> None:
    """The money stays where it is: what was promised may be refunded again."""
    lines = await work.session.execute(select(Line, Item).join(Item, _ITEM_OF_LINE).where(Line.refund_id == refund.id))
    refund.state = RefundState.FAILED
    refund.failure = outcome.failure[:255]
    purchase.refunded -= refund.amount
    for line, item in lines:
        item.refunded -= line.amount
        item.refunded_tax -= line.tax
        item.refunded_quantity -= line.quantity
    await changed(work, purchase, purchase.status)
    await _note_outcome(work, purchase, refund)
    await work.publish(
        RefundFailed(
            refund_id=refund.id,
            purchase_id=purchase.id,
            reference_number=purchase.reference_number,
            amount=money(purchase, refund.amount),
            failure=refund.failure,
        ),
        record=purchase.id,
        subject=purchase.reference_number,
    )
    await _raise_error(work, purchase, refund, "refund_failure", "The payment provider refused a refund")


async def _ask_again_later(work: Work, purchase: Purchase, refund: Refund, outcome: OutcomeUnknown) -> None:
    first = refund.state is not RefundState.UNKNOWN
    refund.state = RefundState.UNKNOWN
    delay = ASK_AGAIN[min(refund.attempts, len(ASK_AGAIN)) - 1]
    refund.due_at = (await work.session.execute(select(func.clock_timestamp() + delay))).scalar_one()
    if first:
        await history.note_change(
            work, purchase, "refund.unknown", {"refund_id": str(refund.id), "detail": outcome.detail}
        )
    if await work.session.scalar(select(func.now() - Refund.requested_at > TOO_LONG).where(Refund.id == refund.id)):
        await _raise_error(work, purchase, refund, "refund_unknown", "A refund has had no outcome for too long")


async def _note_outcome(work: Work, purchase: Purchase, refund: Refund) -> None:
    await history.note_change(
        work,
        purchase,
        f"refund.{refund.state}",
        {
            "refund_id": str(refund.id),
            "amount": refund.amount,
            "currency": purchase.currency,
            "status": purchase.status,
            "provider_reference": refund.provider_reference,
            "failure": refund.failure,
        },
    )


async def _raise_error(work: Work, purchase: Purchase, refund: Refund, error_type: str, title: str) -> None:
    await work.publish(
        PurchasesErrorRaised(
            error_type=error_type,
            title=title,
            note=refund.failure,
            reference_number=purchase.reference_number,
            fingerprint=f"{error_type}:{refund.id}",
            facts={"refund_id": str(refund.id), "amount": refund.amount, "currency": purchase.currency},
        ),
        record=purchase.id,
        subject=purchase.reference_number,
    )


async def _receipt_lines(work: Work, purchase: Purchase, refund: Refund) -> tuple[ReceiptLine, ...]:
    lines = await work.session.execute(_PRINTED_LINES, {"refund_id": refund.id})
    return tuple(
        ReceiptLine(product_name=name, quantity=quantity or None, amount=money(purchase, amount))
        for name, quantity, amount in lines
    )
