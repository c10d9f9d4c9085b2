"""The refund job: takes due refunds, hands them to the payment provider outside any transaction, books the outcome."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeAlias

from services.purchases.manual_payout.provider import ManualProvider
from services.purchases.refund import outcome, store
from services.purchases.refund.provider import OutcomeUnknown, PayoutOutcome, PayoutRefused, RefundProvider
from services.purchases.refund.store import TakenRefund
from services.purchases.settings import Settings
from shared.failpoints import failpoint
from shared.messaging.leased_job import Capacity, LeasedJob, Settled
from shared.messaging.service import Runtime
from shared.messaging.unit_of_work import UnitOfWork
from shared.observability.logs import logger

JOB: Final = "refunds"
ACTOR: Final = "service:purchases"
PayoutJob: TypeAlias = LeasedJob[Settings, TakenRefund, PayoutOutcome]
Payout: TypeAlias = Settled[TakenRefund, PayoutOutcome]
"""A refund in hand and what the provider said of it."""


def chosen_provider(runtime: Runtime[Settings]) -> RefundProvider:
    """The provider that the settings name."""
    match runtime.settings.refund_provider:
        case "manual":
            return ManualProvider(runtime.sessions)


def payout_job(provider_of: Callable[[Runtime[Settings]], RefundProvider] = chosen_provider) -> PayoutJob:
    """Pays what is due, as many refunds side by side as the settings say.

    The intent (`sent`) is committed before the provider hears of a refund; the provider is called outside any
    transaction with the refund id as key; the outcome is booked only while the lease is still ours.
    """

    async def pay(runtime: Runtime[Settings], refund: TakenRefund) -> PayoutOutcome:
        failpoint("refund_sent")
        answer = await _ask(provider_of(runtime), refund, runtime.settings.provider_timeout_seconds)
        failpoint("refund_provider_called")
        return answer

    return LeasedJob(JOB, actor=ACTOR, capacity=_capacity, take=store.take_due, act=pay, settle=settle)


def _capacity(settings: Settings) -> Capacity:
    return Capacity(settings.refunds_at_once, lease=timedelta(seconds=settings.refund_lease_seconds))


async def _ask(provider: RefundProvider, refund: TakenRefund, seconds: float) -> PayoutOutcome:
    """The provider's answer. Whatever went wrong out there, the money may have moved: the outcome is unknown."""
    try:
        if refund.asked_before:
            async with asyncio.timeout(seconds):
                known = await provider.find(refund.request.refund_id)
            if known is not None:
                return known
        async with asyncio.timeout(seconds):
            return await provider.refund(refund.request)
    except Exception as error:  # noqa: BLE001 - any trouble of a provider means that nobody knows
        logger().warning("refund_outcome_unknown", correlation_id=refund.context.correlation_id, error=error)
        return OutcomeUnknown(type(error).__name__)


async def settle(work: UnitOfWork, payouts: Sequence[Payout]) -> int:
    """Book what the provider did with refunds that are still ours, each in the flow of its request; returns how many
    were."""
    refused = {payout.item.request.refund_id for payout in payouts if isinstance(payout.result, PayoutRefused)}
    held = await store.hold(work, [payout.item for payout in payouts], refused=refused)
    for payout in payouts:
        one = held.get(payout.item.request.refund_id)
        if one is not None:
            await outcome.book(replace(work, context=payout.item.context), one, payout.result)
    await store.write(work, held.values())
    return len(held)
