"""Refunds as the job sees them in the database: which it takes to the provider, and what became of them.

Each statement takes or settles any number of refunds. The whole way is in docs/domain.md, "Refunds".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import (
    Executable,
    Row,
    Uuid,
    and_,
    bindparam,
    case,
    column,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.orm.attributes import flag_modified

from services.purchases import history
from services.purchases.domain import status_after_refund
from services.purchases.models import OPEN_REFUNDS, Facts, Item, Line, Payment, Purchase, Refund
from services.purchases.payout import OutcomeUnknown, PaidOut, PayoutOutcome, PayoutRefused, PayoutRequest
from services.purchases.purchases import changed, contact, money
from shared.contracts.errorlog import PurchasesErrorRaised
from shared.contracts.purchases import ReceiptLine, RefundCompleted, RefundFailed, RefundState
from shared.messaging.leased_job import Settled, due, leasing, release
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork

ASK_AGAIN: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=5),
    timedelta(hours=1),
)
"""How long after an unknown outcome the provider is asked again; the last one repeats."""
TOO_LONG: Final = timedelta(days=1)
"""A refund without an outcome for longer than this is an error that a person sees."""
_REFUND: Final = Refund.__table__
_PURCHASE: Final = Purchase.__table__
_ITEM_OF_LINE: Final = and_(Item.purchase_id == Line.purchase_id, Item.running_number == Line.running_number)
_SETTLED: Final = (
    "state", "due_at", "completed_at", "provider_reference", "failure", "lease_token", "leased_until",
)  # fmt: skip
_MOVED: Final = ("status", "refunded", "returned", "version", "changed_at", "changed_by")


@dataclass(frozen=True)
class TakenRefund:
    """A refund in hand, copied out of the transaction that leased it."""

    request: PayoutRequest
    token: UUID
    context: MessageContext
    asked_before: bool
    """The provider may have heard of it: ask first what became of it."""


Payout: TypeAlias = Settled[TakenRefund, PayoutOutcome]
"""A refund in hand and what the provider said of it."""


@dataclass(frozen=True)
class _Held:
    """A refund whose lease is still ours, with its purchase, both locked; `printed` are the lines for its mail."""

    purchase: Purchase
    refund: Refund
    printed: Sequence[tuple[str, int, int]]
    now: datetime


def _take() -> Executable:
    """Due refunds that nobody holds, leased and marked as sent, with what the provider is to know.

    What is read of the purchase and its payments never changes, so nothing of it is locked.
    """
    waiting = due(_REFUND, OPEN_REFUNDS)
    sent = case((waiting.c.state == RefundState.REQUESTED, RefundState.SENT), else_=waiting.c.state)
    taken = (
        update(_REFUND)
        .where(_REFUND.c.id == waiting.c.id)
        .values(state=sent, **leasing(_REFUND))
        .returning(*_REFUND.c, waiting.c.state.label("state_before"))
        .cte("taken")
    )
    references = (
        select(func.array_agg(aggregate_order_by(Payment.provider_reference, Payment.id)))
        .where(Payment.purchase_id == taken.c.purchase_id, Payment.provider_reference.is_not(None))
        .scalar_subquery()
    )
    purchase = (_PURCHASE.c.reference_number, _PURCHASE.c.currency, _PURCHASE.c.payment_type)
    return (
        select(*taken.c, *purchase, references.label("payment_references"))
        .join(_PURCHASE, _PURCHASE.c.id == taken.c.purchase_id)
        .order_by(taken.c.due_at)
    )


def _hold() -> Executable:
    """Refunds (`ids`) that are still held under `tokens`, with their purchases.

    Locked in the order of the purchases' ids, each purchase before its refunds, like everywhere.
    """
    given = {"id": "ids", "token": "tokens"}
    mine = (
        func.unnest(*(bindparam(name, type_=ARRAY(Uuid())) for name in given.values()))
        .table_valued(*(column(name, Uuid()) for name in given))
        .render_derived(name="mine")
    )
    printed = (
        select(
            func.json_agg(
                aggregate_order_by(
                    func.json_build_array(Item.product_name, Line.quantity, Line.amount), Line.running_number
                )
            )
        )
        .join_from(Line, Item, _ITEM_OF_LINE)
        .where(Line.refund_id == Refund.id)
        .scalar_subquery()
    )
    return (
        select(Purchase, Refund, printed, func.clock_timestamp())
        .join_from(Purchase, Refund, Refund.purchase_id == Purchase.id)
        .join(mine, and_(mine.c.id == Refund.id, mine.c.token == Refund.lease_token))
        .where(Refund.state.in_(Refund.OPEN))
        .order_by(Purchase.id, Refund.id)
        .with_for_update(key_share=True, of=(Purchase, Refund))
        .execution_options(populate_existing=True)
    )


_TAKE: Final = _take()
_HOLD: Final = _hold()


async def take_due(work: UnitOfWork, limit: int, lease: timedelta) -> list[TakenRefund]:
    """Take due refunds and write down that they are being sent. Whoever called commits before the provider hears."""
    rows = (await work.session.execute(_TAKE, {"limit": limit, "lease": lease})).all()
    return [_taken(row) for row in rows]


async def settle(work: UnitOfWork, settled: Sequence[Payout]) -> int:
    """Book what the provider did with refunds that are still ours; returns how many were.

    A refund that another worker has taken since (this one was paused past its lease) is left to that one.
    """
    held = await _held(work, [payout.item for payout in settled])
    refused = [payout.item.request.refund_id for payout in settled if isinstance(payout.result, PayoutRefused)]
    items = await _items_of(work, [refund_id for refund_id in refused if refund_id in held])
    for payout in settled:
        one = held.get(payout.item.request.refund_id)
        if one is None:
            continue
        by = replace(work, context=payout.item.context)
        release(one.refund)
        match payout.result:
            case PaidOut():
                await _complete(by, one, payout.result)
            case PayoutRefused():
                await _fail(by, one, payout.result, items[one.refund.id])
            case OutcomeUnknown():
                await _ask_again_later(by, one, payout.result)
    await _write(work, held.values())
    return len(held)


async def _held(work: UnitOfWork, taken: Sequence[TakenRefund]) -> dict[UUID, _Held]:
    mine = {"ids": [one.request.refund_id for one in taken], "tokens": [one.token for one in taken]}
    rows = (await work.session.execute(_HOLD, mine)).all()
    return {refund.id: _Held(purchase, refund, printed or (), now) for purchase, refund, printed, now in rows}


async def _items_of(work: UnitOfWork, refund_ids: Sequence[UUID]) -> Mapping[UUID, list[tuple[Line, Item]]]:
    """What each of these refunds took of which item."""
    found: dict[UUID, list[tuple[Line, Item]]] = {refund_id: [] for refund_id in refund_ids}
    if refund_ids:
        statement = select(Line, Item).join(Item, _ITEM_OF_LINE).where(Line.refund_id.in_(refund_ids))
        for line, item in await work.session.execute(statement):
            found[line.refund_id].append((line, item))
    return found


async def _write(work: UnitOfWork, held: Iterable[_Held]) -> None:
    """The rows of a batch name the same columns, changed or not: then they share one statement for each table."""
    for one in held:
        for name in _SETTLED:
            flag_modified(one.refund, name)
        for name in _MOVED:
            flag_modified(one.purchase, name)
    await work.session.flush()


async def _complete(work: UnitOfWork, held: _Held, outcome: PaidOut) -> None:
    """What the customer's mail is made of is told first: messages about one purchase leave one after the other."""
    purchase, refund = held.purchase, held.refund
    refund.state = RefundState.COMPLETED
    refund.completed_at = outcome.at
    refund.provider_reference = outcome.provider_reference
    purchase.returned += refund.amount
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
            lines=_receipt_lines(held),
        ),
        order_key=purchase.id,
        subject=purchase.reference_number,
    )
    await changed(work, purchase, status_after_refund(purchase.status, purchase.paid, purchase.returned))
    await _tell_outcome(work, purchase, refund)


async def _fail(work: UnitOfWork, held: _Held, outcome: PayoutRefused, items: Sequence[tuple[Line, Item]]) -> None:
    """The money stays where it is: what was promised may be refunded again."""
    purchase, refund = held.purchase, held.refund
    refund.state = RefundState.FAILED
    refund.failure = outcome.failure[:255]
    purchase.refunded -= refund.amount
    for line, item in items:
        item.refunded -= line.amount
        item.refunded_tax -= line.tax
        item.refunded_quantity -= line.quantity
    await changed(work, purchase, purchase.status)
    await _tell_outcome(work, purchase, refund)
    await work.publish(
        RefundFailed(
            refund_id=refund.id,
            purchase_id=purchase.id,
            reference_number=purchase.reference_number,
            amount=money(purchase, refund.amount),
            failure=refund.failure,
        ),
        order_key=purchase.id,
        subject=purchase.reference_number,
    )
    await _raise_error(work, purchase, refund, "refund_failure", "The payment provider refused a refund")


async def _ask_again_later(work: UnitOfWork, held: _Held, outcome: OutcomeUnknown) -> None:
    purchase, refund = held.purchase, held.refund
    first = refund.state is not RefundState.UNKNOWN
    refund.state = RefundState.UNKNOWN
    refund.due_at = held.now + ASK_AGAIN[min(refund.attempts, len(ASK_AGAIN)) - 1]
    if first:
        facts: Facts = {"refund_id": str(refund.id), "detail": outcome.detail}
        await history.note_change(work, purchase, "refund.unknown", facts)
    if held.now - refund.requested_at > TOO_LONG:
        await _raise_error(work, purchase, refund, "refund_unknown", "A refund has had no outcome for too long")


async def _tell_outcome(work: UnitOfWork, purchase: Purchase, refund: Refund) -> None:
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


async def _raise_error(work: UnitOfWork, purchase: Purchase, refund: Refund, error_type: str, title: str) -> None:
    await work.publish(
        PurchasesErrorRaised(
            error_type=error_type,
            title=title,
            note=refund.failure,
            reference_number=purchase.reference_number,
            fingerprint=f"{error_type}:{refund.id}",
            facts={"refund_id": str(refund.id), "amount": refund.amount, "currency": purchase.currency},
        ),
        order_key=purchase.id,
        subject=purchase.reference_number,
    )


def _receipt_lines(held: _Held) -> tuple[ReceiptLine, ...]:
    return tuple(
        ReceiptLine(product_name=name, quantity=quantity or None, amount=money(held.purchase, amount))
        for name, quantity, amount in held.printed
    )


def _taken(row: Row[Any]) -> TakenRefund:
    return TakenRefund(
        request=PayoutRequest(
            refund_id=row.id,
            reference_number=row.reference_number,
            amount=row.amount,
            currency=row.currency,
            payment_type=row.payment_type,
            payment_references=tuple(row.payment_references or ()),
        ),
        token=row.lease_token,
        context=MessageContext(
            client_id=row.client_id,
            actor=row.actor,
            message_id=row.id,
            correlation_id=row.correlation_id,
            traceparent=row.traceparent,
            reason=row.reason_given,
        ),
        asked_before=row.state_before is not RefundState.REQUESTED,
    )
