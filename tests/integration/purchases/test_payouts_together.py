"""Refunds that are settled in one transaction: each as if it were alone, in the company of lost and broken ones."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from services.purchases.manual_payout.provider import ManualProvider
from services.purchases.models import HistoryEntry, Item, Purchase
from services.purchases.refund.job import JOB, Payout, PayoutJob, payout_job, settle
from services.purchases.refund.provider import OutcomeUnknown, PaidOut, PayoutRefused, PayoutRequest
from services.purchases.refund.store import TakenRefund, take_due
from services.purchases.settings import Settings
from shared.contracts.purchases import PurchaseChanged, PurchaseStatus, PurchaseStatusChanged, RefundState
from shared.ids import new_id
from shared.messaging.host.job_loop import JobLoop
from shared.messaging.leased_job import Settled
from shared.messaging.message_context import MessageContext
from shared.messaging.recovery.circuit_breaker import CircuitBreaker
from shared.messaging.service import Runtime
from shared.messaging.transaction.deferred_inserts import deferred_rows
from shared.messaging.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics
from tests.integration.purchases.arranging import PurchasesService, recorded
from tests.integration.purchases.payouts import ScriptedProvider, a_refund, due_now, hand_out_refunds, news, stored
from tests.support.make import ORDERED_AT, item, order
from tests.support.service import context
from tests.support.statements import noted_statements
from tests.support.wait import wait_until

pytestmark = pytest.mark.usefixtures("no_other_refunds")
LEASE = timedelta(minutes=1)


async def take(service: PurchasesService) -> list[TakenRefund]:
    async with service.work(context()) as work:
        return await take_due(work, 50, LEASE)


async def settle_all(service: PurchasesService, *settled: Payout) -> int:
    async with service.work(context()) as work:
        return await settle(work, settled)


def paid(taken: TakenRefund) -> Payout:
    return Settled(taken, PaidOut(f"out-{taken.request.refund_id}", ORDERED_AT))


async def history_of(service: PurchasesService, purchase: PurchaseChanged) -> list[str]:
    statement = select(HistoryEntry.subject, HistoryEntry.facts["amount"].as_integer()).where(
        HistoryEntry.purchase_id == purchase.purchase_id, HistoryEntry.subject.like("refund.%")
    )
    async with service.sessions() as session:
        return [f"{subject} {amount}" for subject, amount in await session.execute(statement.order_by(HistoryEntry.id))]


async def test_any_number_of_refunds_is_booked_and_the_next_taken_in_the_same_statements(
    service: PurchasesService,
) -> None:
    """Some purchases have a new status and some have not, one outcome is unknown: the statements are the same."""
    asked = []
    for count in (1, 7):
        whole, part = await recorded(service), await recorded(service, order(item(500, 7)))
        await a_refund(service, part, 100)
        await hand_out_refunds(service, ScriptedProvider())
        await a_refund(service, whole)
        for _ in range(count + 1):
            await a_refund(service, part, 100)
        async with service.work(context()) as work:
            taken = await take_due(work, count, LEASE)
        with noted_statements(service.sessions) as noted:
            async with service.work(context()) as work:
                outcomes: list[Payout] = [
                    *map(paid, taken[:-1]),
                    Settled(taken[-1], OutcomeUnknown("ConnectionResetError")),
                ]
                assert await settle(work, outcomes) == count
                assert len(await take_due(work, 50, LEASE)) == 2
        asked.append([text.split()[0] for text in noted])
    assert asked == [["SELECT", "UPDATE", "UPDATE", "WITH", "INSERT", "INSERT"]] * 2


async def test_a_payout_is_taken_paid_and_booked_in_few_statements(service: PurchasesService) -> None:
    await a_refund(service)
    with noted_statements(service.sessions) as noted:
        assert await hand_out_refunds(service, ManualProvider(service.sessions)) == 1
    takes, pays, *books, looks_again = noted
    assert (takes.split()[0], pays.split()[0], len(books)) == ("WITH", "INSERT", 5)
    assert looks_again == takes


async def test_two_refunds_of_one_purchase_are_booked_one_after_the_other(service: PurchasesService) -> None:
    purchase = await recorded(service)
    flows = [await a_refund(service, purchase, amount) for amount in (400, 600)]
    first, second = await take(service)
    assert await settle_all(service, paid(first), paid(second)) == 2

    _, owner = await stored(service, flows[0])
    assert (owner.status, owner.refunded, owner.returned) == (PurchaseStatus.REFUNDED, 1000, 1000)
    assert owner.version == 5, "one for each promise and one for each return"
    changes = [
        (message.version, message.old_status, message.status)
        for by in flows
        for message in await service.sent_in(by.correlation_id)
        if isinstance(message, PurchaseStatusChanged)
    ]
    assert changes == [
        (4, PurchaseStatus.PAID, PurchaseStatus.PARTIALLY_REFUNDED),
        (5, PurchaseStatus.PARTIALLY_REFUNDED, PurchaseStatus.REFUNDED),
    ]
    assert await history_of(service, purchase) == [
        "refund.requested 400",
        "refund.requested 600",
        "refund.completed 400",
        "refund.completed 600",
    ]


async def test_one_of_two_refunds_of_a_purchase_is_refused(service: PurchasesService) -> None:
    purchase = await recorded(service)
    flows = [await a_refund(service, purchase, amount) for amount in (400, 500)]
    first, second = await take(service)
    await settle_all(service, Settled(first, PayoutRefused("card expired")), paid(second))

    rows = [(await stored(service, by))[0] for by in flows]
    assert [(row.state, row.failure) for row in rows] == [
        (RefundState.FAILED, "card expired"),
        (RefundState.COMPLETED, None),
    ]
    _, owner = await stored(service, flows[0])
    assert (owner.status, owner.refunded, owner.returned) == (PurchaseStatus.PARTIALLY_REFUNDED, 500, 500)
    async with service.sessions() as session:
        item = await session.scalar(select(Item.refunded).where(Item.purchase_id == purchase.purchase_id))
    assert item == 500
    assert await news(service, flows[0]) == ["HistoryEntryAdded", "RefundFailed", "PurchasesErrorRaised"]
    assert await news(service, flows[1]) == ["RefundCompleted", "PurchaseStatusChanged", "HistoryEntryAdded"]


async def test_a_lost_lease_is_left_out_and_the_others_are_booked(service: PurchasesService) -> None:
    purchase = await recorded(service)
    flows = [await a_refund(service, purchase, 400), await a_refund(service, purchase, 600), await a_refund(service)]
    taken = await take(service)
    await due_now(service, flows[1])
    [again] = await take(service)
    assert await settle_all(service, *map(paid, taken)) == 2

    rows = [(await stored(service, by))[0] for by in flows]
    assert [row.state for row in rows] == [RefundState.COMPLETED, RefundState.SENT, RefundState.COMPLETED]
    assert (rows[1].lease_token, rows[1].attempts) == (again.token, 2)
    assert await news(service, flows[1]) == []
    assert (await stored(service, flows[0]))[1].returned == 400
    assert await settle_all(service, paid(again), paid(taken[0])) == 1
    assert (await stored(service, flows[0]))[1].returned == 1000


async def test_a_refund_that_breaks_the_batch_is_booked_by_nobody_and_the_others_at_once(
    service: PurchasesService,
) -> None:
    together = Together(3)
    flows = [await a_refund(service) for _ in range(3)]
    _, spoilt = await stored(service, flows[1])

    async def spoil(request: PayoutRequest) -> None:
        if request.refund_id == flows[1].message_id:
            await promised(service, spoilt, 0)
        await together.arrive()

    provider = ScriptedProvider(after=spoil)
    with pytest.raises(ExceptionGroup, match="not settled") as failed:
        await hand_out_refunds(service, provider)
    assert len(failed.value.exceptions) == 1
    states = [(await stored(service, by))[0].state for by in flows]
    assert states == [RefundState.COMPLETED, RefundState.SENT, RefundState.COMPLETED]
    assert await news(service, flows[1]) == []

    await promised(service, spoilt, 1000)
    assert await hand_out_refunds(service, provider) == 0, "nobody takes it while the lease runs"
    await due_now(service, flows[1])
    assert await hand_out_refunds(service, provider) == 1
    assert (await stored(service, flows[1]))[0].state is RefundState.COMPLETED
    assert len(provider.requests) == 3, "it was asked about and not paid again"


async def promised(service: PurchasesService, purchase: Purchase, amount: int) -> None:
    """Change the sum behind the service's back; less than what goes back breaks a rule of the database."""
    async with service.sessions() as session, session.begin():
        await session.execute(update(Purchase).where(Purchase.id == purchase.id).values(refunded=amount))


class Together:
    """Lets several pass at the same moment."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._all = asyncio.Event()

    async def arrive(self) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._all.set()
        await self._all.wait()


async def test_two_instances_settle_refunds_of_the_same_purchases(service: PurchasesService) -> None:
    purchases = [await recorded(service) for _ in range(4)]
    flows = [await a_refund(service, purchase, amount) for amount in (100, 200, 300, 400) for purchase in purchases]
    provider = ScriptedProvider()
    narrow = PurchasesService(service.sessions, service.settings.model_copy(update={"refunds_at_once": 3}))
    taken = await asyncio.gather(*(hand_out_refunds(narrow, provider) for _ in range(3)))
    assert sum(taken) == len(provider.requests) == len({request.refund_id for request in provider.requests}) == 16
    owners = [(await stored(service, by))[1] for by in flows[:4]]
    assert [(owner.status, owner.returned, owner.version) for owner in owners] == [
        (PurchaseStatus.REFUNDED, 1000, 9)
    ] * 4


@dataclass(frozen=True)
class Unpolled:
    """The job as it is, but in a loop that looks by itself so seldom that only what wakes it can have helped."""

    job: PayoutJob
    name = JOB
    every = timedelta(minutes=1)
    wakes_itself = True

    async def round(self, runtime: Runtime[Settings]) -> int:
        return await self.job.round(runtime)

    async def finish(self, runtime: Runtime[Settings]) -> None:
        await self.job.finish(runtime)


@dataclass
class Looping(PurchasesService):
    """The service with its job's loop around it."""

    job: PayoutJob = field(default_factory=payout_job)
    outages: int = 0

    def __post_init__(self) -> None:
        async def database() -> None: ...

        metrics = Metrics(f"purchases-{new_id().hex}")
        self.loop = JobLoop(Unpolled(self.job), database=CircuitBreaker("database", database, metrics), metrics=metrics)

    def wake(self, name: str) -> None:
        self.loop.wake()

    @asynccontextmanager
    async def work(self, context: MessageContext) -> AsyncIterator[UnitOfWork]:
        async with super().work(context) as work:
            yield work
            if self.outages and deferred_rows(work.session):
                self.outages -= 1
                raise ConnectionError
        if JOB in work.woken:
            self.wake(JOB)

    async def is_completed(self, by: MessageContext) -> bool:
        return (await stored(self, by))[0].state is RefundState.COMPLETED


@asynccontextmanager
async def looping(
    service: PurchasesService, provider: ScriptedProvider, outages: int = 0
) -> AsyncIterator[tuple[Looping, Callable[[], Coroutine[Any, Any, None]]]]:
    """The job in its loop, and how to stop it and wait for its end."""
    running = Looping(service.sessions, service.settings, job=payout_job(lambda _: provider))
    task = asyncio.create_task(running.loop.run(running))

    async def stop() -> None:
        running.loop.stop()
        await asyncio.wait_for(task, 10)

    try:
        running.outages = outages
        yield running, stop
    finally:
        await stop()


async def test_a_refund_is_taken_at_once_while_another_waits_for_its_answer(service: PurchasesService) -> None:
    answer = asyncio.Event()
    slow = await a_refund(service)

    async def hang(request: PayoutRequest) -> None:
        if request.refund_id == slow.message_id:
            await answer.wait()

    provider = ScriptedProvider(before=hang)
    async with looping(service, provider) as (running, _):
        await wait_until(lambda: bool(provider.requests), 10, what="the slow refund is with the provider")
        quick = await a_refund(running)
        await wait_until(lambda: running.is_completed(quick), 10, what="the other one is completed")
        assert not await running.is_completed(slow)
        answer.set()
        await wait_until(lambda: running.is_completed(slow), 10, what="the slow one is completed")


async def test_a_job_that_is_stopped_books_what_it_has_begun(service: PurchasesService) -> None:
    answer = asyncio.Event()

    async def hang(_request: PayoutRequest) -> None:
        await answer.wait()

    by, provider = await a_refund(service), ScriptedProvider(before=hang)
    async with looping(service, provider) as (running, stop):
        await wait_until(lambda: bool(provider.requests), 10, what="the refund is with the provider")
        stopping = asyncio.create_task(stop())
        late = await a_refund(running)
        answer.set()
        await stopping
    assert await running.is_completed(by)
    assert (await stored(service, late))[0].state is RefundState.REQUESTED


async def test_an_outcome_is_kept_while_the_database_is_away(service: PurchasesService) -> None:
    by, provider = await a_refund(service), ScriptedProvider()
    async with looping(service, provider, outages=1) as (running, _):
        await wait_until(lambda: running.is_completed(by), 10, what="the refund is completed")
        assert running.outages == 0
    assert (len(provider.requests), provider.asked) == (1, [])
