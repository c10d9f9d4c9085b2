"""Asking for refunds: never more than was paid, whoever asks, however often, at the same moment."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import func, select

from services.purchases.models import Item, Line, Purchase, Refund
from services.purchases.purchase.view import get_purchase
from services.purchases.refund.request import request_refund
from shared.contracts.purchases import (
    GetPurchase,
    HistoryEntryAdded,
    PaymentType,
    PurchaseChanged,
    PurchaseStatus,
    PurchaseView,
    RefundAccepted,
    RefundKind,
    RefundLine,
    RefundReason,
    RefundRequested,
    RefundState,
    RequestRefund,
)
from shared.contracts.refusals import MissingPrerequisite, Refused
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from tests.integration.purchases.arranging import PurchasesService, recorded, refund, some
from tests.support.make import euros, item, order
from tests.support.service import context


async def requested(
    service: PurchasesService, command: RequestRefund, by: MessageContext | None = None
) -> RefundAccepted:
    async with service.work(by or context()) as work:
        return await request_refund(work, command)


async def view(service: PurchasesService, purchase: PurchaseChanged) -> PurchaseView:
    async with service.work(context()) as work:
        return await get_purchase(work, GetPurchase(reference_number=purchase.reference_number))


async def test_a_total_refund_is_promised_at_once(service: PurchasesService) -> None:
    purchase = await recorded(service, order(item(1000, 2), item(500)))
    by = context(actor="user:kim")
    service.woken.clear()
    accepted = await requested(service, refund(purchase), by)

    assert accepted.refund_id == by.message_id
    assert (accepted.amount, accepted.state) == (euros(2500), RefundState.REQUESTED)
    assert (accepted.status, accepted.version) == (PurchaseStatus.PAID, 2)
    assert service.woken == {"refunds"}
    shown = await view(service, purchase)
    assert (shown.refunded, [i.remaining.amount for i in shown.items]) == (euros(2500), [0, 0])
    assert [(r.requested_by, r.kind, r.reason, r.state) for r in shown.refunds] == [
        ("user:kim", RefundKind.TOTAL, RefundReason.GOODWILL, RefundState.REQUESTED)
    ]
    assert [(line.running_number, line.quantity, line.amount) for line in shown.refunds[0].lines] == [
        (1, 2, euros(2000)),
        (2, 1, euros(500)),
    ]
    assert shown.history[0].subject == "refund.requested"
    assert (shown.history[0].actor, shown.history[0].facts["amount"]) == ("user:kim", 2500)
    refusal = next(action for action in shown.actions if action.name == "refund.request")
    assert refusal.code == "nothing_left_to_refund"
    sent = await service.sent_in(by.correlation_id)
    assert [type(message) for message in sent] == [HistoryEntryAdded, RefundRequested]


async def test_two_agents_who_refund_everything_at_the_same_moment_refund_it_once(service: PurchasesService) -> None:
    purchase = await recorded(service)
    results = await asyncio.gather(
        requested(service, refund(purchase), context(actor="user:ada")),
        requested(service, refund(purchase), context(actor="user:kim")),
        return_exceptions=True,
    )
    refusals = [result for result in results if isinstance(result, Refused)]
    assert [refusal.code for refusal in refusals] == ["nothing_left_to_refund"]
    assert len([result for result in results if isinstance(result, RefundAccepted)]) == 1


async def test_many_partial_refunds_at_once_never_exceed_what_was_paid(service: PurchasesService) -> None:
    purchase = await recorded(service, order(item(1000), item(999)))
    commands = [refund(purchase, RefundKind.AMOUNT, some(1 + n % 2, 150 + n)) for n in range(30)]
    results = await asyncio.gather(*(requested(service, command) for command in commands), return_exceptions=True)
    accepted = [result.amount.amount for result in results if isinstance(result, RefundAccepted)]
    refused = [result.code for result in results if isinstance(result, Refused)]
    assert len(accepted) + len(refused) == 30
    assert set(refused) <= {"exceeds_refundable_amount", "nothing_left_to_refund"}
    assert refused
    async with service.sessions() as session:
        row = (await session.scalars(select(Purchase).where(Purchase.id == purchase.purchase_id))).one()
        lines = await session.scalar(select(func.sum(Line.amount)).where(Line.purchase_id == purchase.purchase_id))
        items = await session.scalar(select(func.sum(Item.refunded)).where(Item.purchase_id == purchase.purchase_id))
    assert row.refunded == sum(accepted) == lines == items
    assert row.refunded <= row.paid
    assert row.version == 1 + len(accepted)


async def test_who_decided_on_an_old_state_learns_who_was_faster(service: PurchasesService) -> None:
    purchase = await recorded(service)
    await requested(service, refund(purchase, RefundKind.AMOUNT, some(1, 10)), context(actor="user:kim"))
    with pytest.raises(Refused, match="version_conflict") as refusal:
        await requested(service, refund(purchase, expected_version=purchase.version))
    facts = refusal.value.facts
    assert (facts["expected_version"], facts["version"], facts["changed_by"]) == (1, 2, "user:kim")
    assert facts["changed_at"]
    assert (await requested(service, refund(purchase, expected_version=2))).amount == euros(990)


async def test_the_sellers_own_refund_number_works_once(service: PurchasesService) -> None:
    purchase, other = await recorded(service), await recorded(service)
    number = f"credit-{purchase.reference_number}"
    first = await requested(service, refund(purchase, RefundKind.AMOUNT, some(1, 10), client_refund_id=number))
    for again in (purchase, other):
        with pytest.raises(Refused, match="client_refund_id_taken") as refusal:
            await requested(service, refund(again, RefundKind.AMOUNT, some(1, 10), client_refund_id=number))
        assert refusal.value.facts["refund_id"] == str(first.refund_id)
        assert refusal.value.facts["reference_number"] == purchase.reference_number
    assert (await view(service, purchase)).refunded == euros(10)
    assert (await view(service, other)).refunded == euros(0)
    foreign = await recorded(service, by=context("other"))
    command = refund(foreign, RefundKind.AMOUNT, some(1, 10), client_refund_id=number)
    assert (await requested(service, command, context("other"))).amount == euros(10)


async def test_the_same_refund_number_at_once_on_two_purchases_is_taken_once(service: PurchasesService) -> None:
    purchases = [await recorded(service) for _ in range(4)]
    number = f"credit-{purchases[0].reference_number}"
    results = await asyncio.gather(
        *(requested(service, refund(purchase, client_refund_id=number)) for purchase in purchases),
        return_exceptions=True,
    )
    refusals = [result for result in results if isinstance(result, Refused)]
    assert [refusal.code for refusal in refusals] == ["client_refund_id_taken"] * 3


async def test_a_message_id_from_long_ago_refunds_nothing_again(service: PurchasesService) -> None:
    purchase = await recorded(service)
    by = context(message_id=new_id())
    await requested(service, refund(purchase, RefundKind.AMOUNT, some(1, 10)), by)
    with pytest.raises(Refused, match="refund_id_taken"):
        await requested(service, refund(purchase, RefundKind.AMOUNT, some(1, 10)), by)
    assert (await view(service, purchase)).refunded == euros(10)


async def test_a_refund_can_be_addressed_by_the_sellers_order_number(service: PurchasesService) -> None:
    command = order()
    purchase = await recorded(service, command)
    by_order = refund(purchase, reference_number=None, client_order_id=command.client_order_id)
    assert (await requested(service, by_order)).reference_number == purchase.reference_number


async def test_another_clients_purchase_cannot_be_refunded(service: PurchasesService) -> None:
    command = order()
    purchase = await recorded(service, command)
    by_order = refund(purchase, reference_number=None, client_order_id=command.client_order_id)
    for attempt in (refund(purchase), by_order):
        with pytest.raises(MissingPrerequisite, match="purchase_not_found"):
            await requested(service, attempt, context("other"))
    assert (await view(service, purchase)).refunded == euros(0)


@pytest.mark.parametrize(
    ("kind", "lines", "code"),
    [
        (RefundKind.AMOUNT, (some(1, 2001),), "exceeds_refundable_amount"),
        (RefundKind.QUANTITY, (RefundLine(running_number=1, quantity=3),), "exceeds_refundable_amount"),
        (RefundKind.ITEMS, (RefundLine(running_number=3),), "item_not_found"),
    ],
)
async def test_a_refused_refund_leaves_nothing(
    service: PurchasesService, kind: RefundKind, lines: tuple[RefundLine, ...], code: str
) -> None:
    purchase = await recorded(service, order(item(1000, 2), item(500)))
    by = context()
    with pytest.raises(Refused, match=code):
        await requested(service, refund(purchase, kind, *lines), by)
    shown = await view(service, purchase)
    assert (shown.version, shown.refunds, len(shown.history)) == (1, (), 2)
    assert await service.sent_in(by.correlation_id) == []


async def test_a_payment_type_that_cannot_go_back_is_handed_to_support(service: PurchasesService) -> None:
    purchase = await recorded(service, order(payment_type=PaymentType.CHECK, card_last4=None))
    with pytest.raises(Refused, match="payment_type_not_refundable"):
        await requested(service, refund(purchase))


async def test_the_flow_of_the_request_is_kept_for_the_job(service: PurchasesService) -> None:
    purchase = await recorded(service)
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    by = MessageContext("acme", "user:kim", new_id(), "flow-7", traceparent)
    accepted = await requested(service, refund(purchase), by)
    row = await stored(service, accepted.refund_id)
    assert (row.client_id, row.actor, row.correlation_id, row.traceparent) == (
        "acme",
        "user:kim",
        "flow-7",
        traceparent,
    )


async def stored(service: PurchasesService, refund_id: UUID) -> Refund:
    async with service.sessions() as session:
        return (await session.scalars(select(Refund).where(Refund.id == refund_id))).one()
