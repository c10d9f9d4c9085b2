"""The rows of refunds: stored as promises, taken by the job, held while an answer is booked.

What the job does takes or books any number of refunds in the same number of statements.
The whole way is in docs/domain.md, "Refunds".
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Executable, Row, Uuid, and_, bindparam, case, column, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, insert
from sqlalchemy.orm.attributes import flag_modified

from services.purchases.history.store import about
from services.purchases.models import (
    OPEN_REFUNDS,
    Item,
    Line,
    Payment,
    Purchase,
    PurchasesTables,
    Refund,
    client_copy,
)
from services.purchases.purchase.rules import PurchaseFacts
from services.purchases.purchase.store import facts_of
from services.purchases.refund.provider import PayoutRequest
from services.purchases.refund.rules import RefundPlan, against_refund
from shared.contracts.personal import REMOVED
from shared.contracts.purchases import RefundState, RequestRefund
from shared.contracts.refusals import Refused
from shared.messaging.leased_job import due, leasing
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork
from shared.staff.copies import is_platform_staff, settings_of

_REFUND: Final = Refund.__table__
_PURCHASE: Final = Purchase.__table__
_INSERT: Final = insert(_REFUND).on_conflict_do_nothing().returning(_REFUND.c.id)
_ITEM_OF_LINE: Final = and_(Item.purchase_id == Line.purchase_id, Item.running_number == Line.running_number)
_BOOKED: Final = (
    "state", "attempts", "due_at", "completed_at", "provider_reference", "failure", "lease_token", "leased_until",
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


@dataclass(frozen=True)
class HeldRefund:
    """A refund whose lease is still ours, with its purchase, both locked."""

    purchase: Purchase
    refund: Refund
    printed: Sequence[tuple[str, int, int]]
    """The lines of its mail: product, quantity, amount."""
    now: datetime
    """By the database's clock."""
    taken: Sequence[tuple[Line, Item]] = ()
    """What it took of which item, where the promise has to be given back."""


async def facts_for_refund(work: UnitOfWork, purchase: Purchase) -> PurchaseFacts:
    """What the rules want to know before a refund by whoever wants this piece of work.

    The platform's staff is bound by no agreement of a client; who asks is looked up only where one speaks against it.
    """
    facts = facts_of(purchase)
    settings = await settings_of(work.session, client_copy, purchase.client_id)
    if settings is None:
        return facts
    no = against_refund(settings.refund_rights, settings.refund_window_days, purchase.paid_at, datetime.now(UTC))
    if no is None or await is_platform_staff(work, PurchasesTables.staff):
        return facts
    return replace(facts, against_refund=no)


async def insert_refund(work: UnitOfWork, purchase: Purchase, command: RequestRefund, plan: RefundPlan) -> UUID:
    """Store the intent with its lines, under the message id of the request, which it returns.

    Nothing in this transaction reads them again. Raises Refused `client_refund_id_taken`, `refund_id_taken`.
    """
    if work.context.message_id is None:
        raise ValueError("a command has a message id")
    row = _row(work, purchase, command, plan)
    with work.session.no_autoflush:  # What others of the batch have changed is written together with this.
        inserted: UUID | None = await work.session.scalar(_INSERT, row)
    if inserted is None:
        raise await _id_taken(work, command)
    lines = [
        {
            "refund_id": inserted,
            "purchase_id": purchase.id,
            "running_number": line.running_number,
            "quantity": line.quantity,
            "amount": line.amount,
            "tax": line.tax,
        }
        for line in plan.lines
    ]
    work.insert_later(Line.__table__, *lines)
    return inserted


def _row(work: UnitOfWork, purchase: Purchase, command: RequestRefund, plan: RefundPlan) -> dict[str, Any]:
    return {
        "id": work.context.message_id,
        "purchase_id": purchase.id,
        "client_id": purchase.client_id,
        "client_refund_id": command.client_refund_id,
        "kind": command.kind,
        "state": RefundState.REQUESTED,
        "amount": plan.amount,
        "tax": plan.tax,
        "reason": command.reason,
        "remark": REMOVED if purchase.anonymized_at and command.remark else command.remark,
        "notify_customer": command.notify_customer,
        "attempts": 0,
        "actor": work.context.actor,
        "correlation_id": work.context.correlation_id,
        "traceparent": work.context.traceparent,
        "reason_given": about(work, purchase).context.reason,
    }


async def _id_taken(work: UnitOfWork, command: RequestRefund) -> Refused:
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


_TAKE: Final = _take()


async def take_due(work: UnitOfWork, limit: int, lease: timedelta) -> list[TakenRefund]:
    """Take due refunds and write down that they are being sent. Whoever called commits before the provider hears."""
    rows = (await work.session.execute(_TAKE, {"limit": limit, "lease": lease})).all()
    return [_taken(row) for row in rows]


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


def _hold() -> Executable:
    """Refunds (`ids`) that are still held under `tokens`, with their purchases.

    Locked in the order of the purchases' ids, each purchase before its refunds, like everywhere.
    """
    names = {"id": "ids", "token": "tokens"}
    mine = (
        func.unnest(*(bindparam(name, type_=ARRAY(Uuid())) for name in names.values()))
        .table_valued(*(column(name, Uuid()) for name in names))
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


_HOLD: Final = _hold()


async def hold(
    work: UnitOfWork, taken: Sequence[TakenRefund], *, refused: Collection[UUID]
) -> Mapping[UUID, HeldRefund]:
    """Lock these refunds with their purchases, as far as their leases are still ours; those `refused` with items.

    A refund that another worker has taken since (this one was paused past its lease) is left to that one.
    """
    mine = {"ids": [one.request.refund_id for one in taken], "tokens": [one.token for one in taken]}
    rows = (await work.session.execute(_HOLD, mine)).all()
    items = await _items_of(work, [refund.id for _, refund, *_ in rows if refund.id in refused])
    return {
        refund.id: HeldRefund(purchase, refund, printed or (), now, items.get(refund.id, ()))
        for purchase, refund, printed, now in rows
    }


async def _items_of(work: UnitOfWork, refund_ids: Sequence[UUID]) -> Mapping[UUID, list[tuple[Line, Item]]]:
    """What each of these refunds took of which item."""
    found: dict[UUID, list[tuple[Line, Item]]] = {refund_id: [] for refund_id in refund_ids}
    if refund_ids:
        statement = select(Line, Item).join(Item, _ITEM_OF_LINE).where(Line.refund_id.in_(refund_ids))
        for line, item in await work.session.execute(statement):
            found[line.refund_id].append((line, item))
    return found


async def write(work: UnitOfWork, held: Iterable[HeldRefund]) -> None:
    """Write what was booked of these refunds and their purchases, in one statement for each table.

    The rows of a batch share a statement where they name the same columns, changed or not.
    """
    for one in held:
        for name in _BOOKED:
            flag_modified(one.refund, name)
        for name in _MOVED:
            flag_modified(one.purchase, name)
    await work.session.flush()


async def anonymize_refunds(work: UnitOfWork, purchase_ids: Sequence[UUID]) -> None:
    """Take out of the refunds of these purchases what a person has written, and what a provider said."""
    of_these = update(Refund).where(Refund.purchase_id.in_(purchase_ids))
    await work.session.execute(of_these.where(Refund.remark.is_not(None)).values(remark=REMOVED))
    await work.session.execute(of_these.where(Refund.failure.is_not(None)).values(failure=REMOVED))
    await work.session.execute(of_these.values(reason_given=None))
