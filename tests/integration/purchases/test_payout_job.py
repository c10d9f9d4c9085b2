"""Handing refunds to the provider: the money moves once, and its outcome is booked once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from services.purchases.manual_payout.provider import ManualProvider
from services.purchases.models import HistoryEntry, Item, ManualPayout, Purchase, Refund
from services.purchases.refund.job import payout_job
from services.purchases.refund.outcome import ASK_AGAIN
from services.purchases.refund.provider import OutcomeUnknown, PaidOut, PayoutRefused, PayoutRequest
from services.purchases.refund.request import request_refund
from shared.contracts.errorlog import PurchasesErrorRaised
from shared.contracts.purchases import (
    HistoryEntryAdded,
    PurchaseStatus,
    PurchaseStatusChanged,
    RefundCompleted,
    RefundFailed,
    RefundKind,
    RefundState,
)
from tests.integration.purchases.arranging import PurchasesService, recorded, refund, some
from tests.integration.purchases.payouts import ScriptedProvider, a_refund, due_now, hand_out_refunds, news, stored
from tests.support.make import contact, euros, item, order
from tests.support.service import context

pytestmark = pytest.mark.usefixtures("no_other_refunds")


async def test_a_refund_is_paid_out_by_hand_and_booked(service: PurchasesService) -> None:
    purchase = await recorded(service, order(item(1000, 2, name="Editor"), billing_contact=contact(last_name="Byron")))
    by = await a_refund(service, purchase)
    assert await hand_out_refunds(service, ManualProvider(service.sessions)) == 1

    row, owner = await stored(service, by)
    assert (row.state, row.attempts, row.lease_token) == (RefundState.COMPLETED, 1, None)
    assert (owner.status, owner.refunded, owner.returned, owner.version) == (PurchaseStatus.REFUNDED, 2000, 2000, 3)
    assert owner.changed_by == "user:kim"
    sent = (await service.sent_in(by.correlation_id))[2:]
    assert [type(message) for message in sent] == [RefundCompleted, PurchaseStatusChanged, HistoryEntryAdded]
    completed = sent[0]
    assert isinstance(completed, RefundCompleted)
    assert (completed.amount, completed.tax, completed.remaining) == (euros(2000), euros(319), euros(0))
    assert (completed.billing_contact.last_name, completed.card_last4) == ("Byron", "4242")
    assert [(line.product_name, line.quantity, line.amount) for line in completed.lines] == [("Editor", 2, euros(2000))]
    async with service.sessions() as session:
        payout = await session.get(ManualPayout, by.message_id)
        flows = (
            await session.scalars(
                select(HistoryEntry.correlation_id).where(
                    HistoryEntry.purchase_id == owner.id, HistoryEntry.subject.like("refund.%")
                )
            )
        ).all()
    assert payout is not None
    assert (payout.amount, payout.currency, payout.reference_number) == (2000, "EUR", owner.reference_number)
    assert flows == [by.correlation_id] * 2
    assert await hand_out_refunds(service, ManualProvider(service.sessions)) == 0


async def test_partial_refunds_lead_to_partially_refunded_and_then_to_refunded(service: PurchasesService) -> None:
    purchase = await recorded(service)
    first, second = await a_refund(service, purchase, 400), await a_refund(service, purchase, 600)
    _, promised = await stored(service, first)
    assert (promised.status, promised.refunded, promised.returned) == (PurchaseStatus.PAID, 1000, 0)
    provider = ScriptedProvider()
    assert await hand_out_refunds(service, provider) == 2
    _, owner = await stored(service, second)
    assert (owner.status, owner.returned) == (PurchaseStatus.REFUNDED, 1000)
    changes = [
        message
        for by in (first, second)
        for message in await service.sent_in(by.correlation_id)
        if isinstance(message, PurchaseStatusChanged)
    ]
    assert sorted((change.old_status, change.status) for change in changes) == [
        (PurchaseStatus.PAID, PurchaseStatus.PARTIALLY_REFUNDED),
        (PurchaseStatus.PARTIALLY_REFUNDED, PurchaseStatus.REFUNDED),
    ]
    assert {request.amount for request in provider.requests} == {400, 600}
    assert {request.payment_references for request in provider.requests} == {("pay-1",)}


async def test_a_refused_refund_gives_the_money_back_and_is_an_error(service: PurchasesService) -> None:
    purchase = await recorded(service)
    by = await a_refund(service, purchase)
    await hand_out_refunds(service, ScriptedProvider(refuse="card expired"))

    row, owner = await stored(service, by)
    assert (row.state, row.failure) == (RefundState.FAILED, "card expired")
    assert (owner.status, owner.refunded, owner.returned, owner.version) == (PurchaseStatus.PAID, 0, 0, 3)
    sent = (await service.sent_in(by.correlation_id))[2:]
    assert [type(message) for message in sent] == [HistoryEntryAdded, RefundFailed, PurchasesErrorRaised]
    error = sent[2]
    assert isinstance(error, PurchasesErrorRaised)
    assert (error.error_type, error.reference_number) == ("refund_failure", owner.reference_number)
    again = await a_refund(service, purchase)
    await hand_out_refunds(service, ScriptedProvider())
    assert (await stored(service, again))[1].status is PurchaseStatus.REFUNDED


UNFIT = ("card expired\r\nsee code 51", "\x00\u202e", "", "x" * 300, "no money for 4111 1111 1111 1111")


@pytest.mark.parametrize("words", UNFIT)
async def test_whatever_a_provider_says_of_a_refusal_it_is_booked(service: PurchasesService, words: str) -> None:
    by = await a_refund(service)
    await hand_out_refunds(service, ScriptedProvider(answer=PayoutRefused(words)))
    row, owner = await stored(service, by)
    assert (row.state, owner.refunded) == (RefundState.FAILED, 0)
    sent = (await service.sent_in(by.correlation_id))[2:]
    failed, error = sent[1:]
    assert isinstance(failed, RefundFailed)
    assert isinstance(error, PurchasesErrorRaised)
    assert row.failure == failed.failure == error.note
    assert "4111" not in failed.failure


@pytest.mark.parametrize("words", UNFIT)
async def test_whatever_a_provider_calls_a_payment_it_is_booked(service: PurchasesService, words: str) -> None:
    by = await a_refund(service)
    await hand_out_refunds(service, ScriptedProvider(answer=PaidOut(words, datetime.now(UTC))))
    row, owner = await stored(service, by)
    assert (row.state, owner.returned) == (RefundState.COMPLETED, 1000)
    assert row.provider_reference


@pytest.mark.parametrize("words", UNFIT)
async def test_whatever_a_provider_does_not_know_it_is_asked_again(service: PurchasesService, words: str) -> None:
    by = await a_refund(service)
    await hand_out_refunds(service, ScriptedProvider(answer=OutcomeUnknown(words)))
    assert (await stored(service, by))[0].state is RefundState.UNKNOWN


async def test_a_refused_refund_gives_back_what_it_took_of_each_item_and_no_more(service: PurchasesService) -> None:
    purchase = await recorded(service, order(item(1000), item(500, 2), item(300)))
    for provider, lines in (
        (ScriptedProvider(), (some(2, 100),)),
        (ScriptedProvider(refuse="card expired"), (some(1, 400), some(2, 700))),
    ):
        async with service.work(context()) as work:
            await request_refund(work, refund(purchase, RefundKind.AMOUNT, *lines))
        await hand_out_refunds(service, provider)
    async with service.sessions() as session:
        items = (
            await session.execute(
                select(Item.refunded, Item.refunded_tax)
                .where(Item.purchase_id == purchase.purchase_id)
                .order_by(Item.running_number)
            )
        ).all()
    assert [tuple(item) for item in items] == [(0, 0), (100, 16), (0, 0)]


async def test_the_intent_is_committed_before_the_provider_hears_of_it_and_no_transaction_is_open(
    service: PurchasesService,
) -> None:
    seen: list[tuple[RefundState, int, int]] = []

    async def look(request: PayoutRequest) -> None:
        async with service.sessions() as session:
            row = (await session.scalars(select(Refund).where(Refund.id == request.refund_id).with_for_update())).one()
            seen.append((row.state, row.attempts, row.amount))

    by = await a_refund(service)
    await hand_out_refunds(service, ScriptedProvider(before=look))
    assert seen == [(RefundState.SENT, 1, 1000)]
    assert (await stored(service, by))[0].state is RefundState.COMPLETED


async def test_a_lost_answer_is_asked_for_and_never_paid_again(service: PurchasesService) -> None:
    async def break_off(_request: PayoutRequest) -> None:
        raise ConnectionResetError

    by = await a_refund(service)
    provider = ScriptedProvider(after=break_off)
    await hand_out_refunds(service, provider)
    row, owner = await stored(service, by)
    assert (row.state, owner.status, owner.refunded) == (RefundState.UNKNOWN, PurchaseStatus.PAID, 1000)
    assert await news(service, by) == ["HistoryEntryAdded"]
    assert await hand_out_refunds(service, provider) == 0, "not before the delay"
    async with service.sessions() as session:
        in_time = await session.scalar(
            select(Refund.due_at.between(func.now(), func.now() + ASK_AGAIN[0])).where(Refund.id == by.message_id)
        )
    assert in_time

    await due_now(service, by)
    assert await hand_out_refunds(service, provider) == 1
    assert (await stored(service, by))[0].state is RefundState.COMPLETED
    assert (len(provider.requests), provider.asked) == (1, [by.message_id])
    assert await news(service, by) == [
        "HistoryEntryAdded",
        "RefundCompleted",
        "PurchaseStatusChanged",
        "HistoryEntryAdded",
    ]


async def test_a_refund_the_provider_never_heard_of_is_sent_after_all(service: PurchasesService) -> None:
    async def break_off(_request: PayoutRequest) -> None:
        raise ConnectionResetError

    by = await a_refund(service)
    await hand_out_refunds(service, ScriptedProvider(before=break_off))
    await due_now(service, by)
    healthy = ScriptedProvider()
    await hand_out_refunds(service, healthy)
    assert (healthy.asked, len(healthy.requests)) == ([by.message_id], 1)
    assert (await stored(service, by))[0].state is RefundState.COMPLETED


async def test_a_provider_that_does_not_answer_in_time_leaves_the_outcome_unknown(service: PurchasesService) -> None:
    async def hang(_request: PayoutRequest) -> None:
        await asyncio.Event().wait()

    by = await a_refund(service)
    hasty = PurchasesService(service.sessions, service.settings.model_copy(update={"provider_timeout_seconds": 0.05}))
    await hand_out_refunds(hasty, ScriptedProvider(before=hang))
    assert (await stored(service, by))[0].state is RefundState.UNKNOWN


async def test_a_refund_that_was_not_begun_when_the_job_stopped_goes_back_as_it_was(service: PurchasesService) -> None:
    by, provider = await a_refund(service), ScriptedProvider()
    job = payout_job(lambda _: provider)
    assert await job.round(service) == 1
    await job.finish(service)
    row, _ = await stored(service, by)
    assert (row.state, row.attempts, row.lease_token) == (RefundState.REQUESTED, 0, None)
    assert await news(service, by) == []
    assert await hand_out_refunds(service, provider) == 1
    assert (len(provider.requests), provider.asked) == (1, [])


async def test_a_worker_that_was_paused_past_its_lease_changes_nothing(service: PurchasesService) -> None:
    by = await a_refund(service)
    other = ScriptedProvider()

    async def overtaken(_request: PayoutRequest) -> None:
        await due_now(service, by)
        assert await hand_out_refunds(service, other) == 1

    late = ScriptedProvider(before=overtaken)
    await hand_out_refunds(service, late)
    row, owner = await stored(service, by)
    assert row.provider_reference == f"out-{by.message_id}"
    assert (row.state, owner.returned, owner.version) == (RefundState.COMPLETED, 1000, 3)
    assert (await news(service, by)).count("RefundCompleted") == 1


async def test_two_instances_never_hold_the_same_refund(service: PurchasesService) -> None:
    flows = [await a_refund(service) for _ in range(6)]
    provider = ScriptedProvider()
    found = await asyncio.gather(*(hand_out_refunds(service, provider) for _ in range(4)))
    assert sum(found) == 6
    assert sorted(request.refund_id for request in provider.requests) == sorted(
        by.message_id for by in flows if by.message_id
    )


async def test_one_refund_that_cannot_be_booked_does_not_stop_the_others(service: PurchasesService) -> None:
    poisoned, healthy = await a_refund(service), await a_refund(service)
    _, owner = await stored(service, poisoned)

    async def spoil(request: PayoutRequest) -> None:
        if request.refund_id == poisoned.message_id:
            async with service.sessions() as session, session.begin():
                await session.execute(update(Purchase).where(Purchase.id == owner.id).values(refunded=0))

    with pytest.raises(ExceptionGroup, match="not settled"):
        await hand_out_refunds(service, ScriptedProvider(before=spoil))
    assert (await stored(service, healthy))[0].state is RefundState.COMPLETED
    row, owner = await stored(service, poisoned)
    assert (row.state, owner.returned) == (RefundState.SENT, 0)


async def test_a_refund_without_an_outcome_for_a_day_becomes_an_error(service: PurchasesService) -> None:
    async def break_off(_request: PayoutRequest) -> None:
        raise ConnectionResetError

    by = await a_refund(service)
    provider = ScriptedProvider(before=break_off)
    async with service.sessions() as session, session.begin():
        await session.execute(
            update(Refund)
            .where(Refund.id == by.message_id)
            .values(requested_at=func.now() - timedelta(hours=25), attempts=9)
        )
    await hand_out_refunds(service, provider)
    sent = await service.sent_in(by.correlation_id)
    errors = [message for message in sent if isinstance(message, PurchasesErrorRaised)]
    assert [(error.error_type, error.fingerprint) for error in errors] == [
        ("refund_unknown", f"refund_unknown:{by.message_id}")
    ]


@pytest.mark.parametrize("kind", ["manual", "scripted"])
async def test_every_provider_pays_a_refund_id_once_and_can_be_asked(service: PurchasesService, kind: str) -> None:
    provider = ManualProvider(service.sessions) if kind == "manual" else ScriptedProvider()
    purchase = await recorded(service)
    by = await a_refund(service, purchase)
    row, owner = await stored(service, by)
    request = PayoutRequest(row.id, owner.reference_number, row.amount, "EUR", owner.payment_type, ())
    assert await provider.find(row.id) is None
    answers = await asyncio.gather(*(provider.refund(request) for _ in range(5)))
    assert isinstance(answers[0], PaidOut)
    assert set(answers) == {answers[0]}
    assert await provider.find(row.id) == answers[0]
