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
from services.purchases.settling import TakenRefund
from shared.failpoints import failpoint
from shared.messaging.leased_job import Capacity, LeasedJob
from shared.messaging.service import Runtime
from shared.observability.logs import logger

ACTOR: Final = "service:purchases"
PayoutJob = LeasedJob[Settings, TakenRefund, PayoutOutcome]


def payout_job(provider_of: Callable[[Runtime[Settings]], RefundProvider] = provider_of) -> PayoutJob:
    """Pays what is due, as many refunds side by side as the settings say.

    The intent (`sent`) is committed before the provider hears of a refund; the provider is called outside any
    transaction with the refund id as key; the outcome is booked only while the lease is still ours.
    """

    async def pay(runtime: Runtime[Settings], refund: TakenRefund) -> PayoutOutcome:
        failpoint("refund_sent")
        outcome = await _outcome(provider_of(runtime), refund, runtime.settings.provider_timeout_seconds)
        failpoint("refund_provider_called")
        return outcome

    return LeasedJob(JOB, actor=ACTOR, capacity=_capacity, take=settling.take_due, act=pay, settle=settling.settle)


def _capacity(settings: Settings) -> Capacity:
    return Capacity(settings.refunds_at_once, lease=timedelta(seconds=settings.refund_lease_seconds))


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


JOBS: Final = (payout_job(),)
