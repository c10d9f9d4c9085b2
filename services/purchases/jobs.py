"""The payout job: takes due refunds, hands them to the payment provider outside any transaction, books the outcome."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from services.purchases import settling
from services.purchases.payout import OutcomeUnknown, PayoutOutcome, RefundProvider
from services.purchases.providers import provider_of
from services.purchases.refunds import JOB
from services.purchases.settings import Settings
from services.purchases.settling import Settled, TakenRefund
from shared.failpoints import failpoint
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.recovery.error_classification import is_outage
from shared.messaging.service import Job, Runtime
from shared.observability.logs import logger

ACTOR: Final = "service:purchases"
_NOT_BOOKED: Final = "refunds not booked; they are asked about when their lease ends"


class NotBooked(ExceptionGroup[Exception]):
    """Outcomes that could not be written down, each for a reason of its own."""


class Payouts:
    """Pays what is due, as many refunds side by side as the settings say.

    One transaction books the outcomes that are there and takes the next refunds: as many as there are, and no timer
    waits for more. The intent (`sent`) is committed before the provider hears of a refund; the provider is called
    outside any transaction with the refund id as key; the outcome is booked only while the lease is still ours. What
    is with the provider outlives a round, so that a slow answer holds nobody up.
    """

    def __init__(self, provider_of: Callable[[Runtime[Settings]], RefundProvider] = provider_of) -> None:
        self._provider_of = provider_of
        self._in_hand: set[asyncio.Task[Settled]] = set()

    async def round(self, runtime: Runtime[Settings]) -> int:
        """Book what has an answer, take what is due and begin to pay it; returns how many were taken.

        Every answer wakes the job.
        """
        waiting = sum(not task.done() for task in self._in_hand)
        return await self._turn(runtime, runtime.settings.refunds_at_once - waiting)

    async def finish(self, runtime: Runtime[Settings]) -> None:
        """Take nothing new, and book the answers to what was begun."""
        failures: list[Exception] = []
        while self._in_hand:
            await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
            try:
                await self._turn(runtime, 0)
            except NotBooked as error:
                failures += error.exceptions
        if failures:
            raise NotBooked(_NOT_BOOKED, failures)

    async def _turn(self, runtime: Runtime[Settings], room: int) -> int:
        """Should the database be away, the answers are kept for the next round."""
        done = [task for task in self._in_hand if task.done()]
        if not done and not room:
            return 0
        failures: list[Exception] = []
        try:
            taken = await _book_and_take(runtime, [task.result() for task in done], room)
        except Exception as error:
            if is_outage(error) or not done:
                raise
            failures = await self._book_one_by_one(runtime, done)
            taken = await _book_and_take(runtime, [], room)
        self._in_hand.difference_update(done)
        self._begin(runtime, taken)
        if failures:
            raise NotBooked(_NOT_BOOKED, failures)
        return len(taken)

    async def _book_one_by_one(self, runtime: Runtime[Settings], done: list[asyncio.Task[Settled]]) -> list[Exception]:
        """Book answers that could not be booked together. What fails alone too is let go: its lease ends."""
        failures = []
        for task in done:
            try:
                await _book_and_take(runtime, [task.result()], 0)
            except Exception as error:
                if is_outage(error):
                    raise
                failures.append(error)
            self._in_hand.discard(task)
        return failures

    def _begin(self, runtime: Runtime[Settings], taken: list[TakenRefund]) -> None:
        if taken:
            failpoint("refund_sent")
        provider = self._provider_of(runtime)
        for refund in taken:
            task = asyncio.create_task(_ask(provider, refund, runtime.settings.provider_timeout_seconds))
            task.add_done_callback(lambda _: runtime.wake(JOB))
            self._in_hand.add(task)


async def _book_and_take(runtime: Runtime[Settings], settled: list[Settled], room: int) -> list[TakenRefund]:
    lease = timedelta(seconds=runtime.settings.refund_lease_seconds)
    context = MessageContext(client_id="*", actor=ACTOR, message_id=None, correlation_id=str(new_id()))
    async with runtime.work(context) as work:
        if settled:
            await settling.settle(work, settled)
        return await settling.take_due(work, room, lease) if room else []


async def _ask(provider: RefundProvider, refund: TakenRefund, seconds: float) -> Settled:
    outcome = await _outcome(provider, refund, seconds)
    failpoint("refund_provider_called")
    return refund, outcome


async def _outcome(provider: RefundProvider, refund: TakenRefund, seconds: float) -> PayoutOutcome:
    try:
        if refund.asked_before:
            async with asyncio.timeout(seconds):
                known = await provider.find(refund.request.refund_id)
            if known is not None:
                return known
        async with asyncio.timeout(seconds):
            return await provider.refund(refund.request)
    except Exception as error:  # noqa: BLE001 - whatever went wrong out there, the money may have moved
        logger().warning("refund_outcome_unknown", correlation_id=refund.context.correlation_id, error=error)
        return OutcomeUnknown(type(error).__name__)


_PAYOUTS: Final = Payouts()
JOBS: Final[tuple[Job[Settings], ...]] = (Job(JOB, _PAYOUTS.round, finish=_PAYOUTS.finish, wakes_itself=True),)
