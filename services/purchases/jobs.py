"""Leased loops of the purchases service: handing refunds to the payment provider."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import joinedload

from services.purchases.models import Purchase, Refund
from services.purchases.payout import OutcomeUnknown, PayoutOutcome, PayoutRequest, RefundProvider
from services.purchases.providers import provider_of
from services.purchases.refunds import JOB, settle_refund
from services.purchases.settings import Settings
from shared.contracts.purchases import RefundState
from shared.failpoints import failpoint
from shared.logs import logger
from shared.messaging import leases
from shared.messaging.origin import Origin
from shared.messaging.service import Job, Runtime


@dataclass(frozen=True)
class LeasedRefund:
    """A refund in hand, copied out of the transaction that leased it."""

    request: PayoutRequest
    purchase_id: UUID
    token: UUID
    origin: Origin
    asked_before: bool
    """The provider may have heard of it: ask first what became of it."""


async def hand_out_refunds(runtime: Runtime[Settings], provider: RefundProvider) -> int:
    """Lease due refunds, let the provider pay them, book the outcomes. Returns how many were due.

    The intent (`sent`) is committed before the provider hears of a refund; the provider is called outside any
    transaction with the refund id as key; the outcome is booked only while the lease is still ours.
    """
    leased = await _lease(runtime)
    if leased:
        failpoint("refund_sent")
    settled = await asyncio.gather(*(_settle(runtime, provider, refund) for refund in leased), return_exceptions=True)
    failures = [result for result in settled if isinstance(result, Exception)]
    if failures:
        raise ExceptionGroup("refunds not booked; they are asked about when their lease ends", failures)
    return len(leased)


async def _lease(runtime: Runtime[Settings]) -> list[LeasedRefund]:
    """Take what is due. The purchase comes along in the same look: what is read of it never changes."""
    settings = runtime.settings
    async with runtime.sessions() as session, session.begin():
        rows = await leases.take(
            session,
            Refund,
            Refund.state.in_(Refund.OPEN),
            limit=settings.refunds_at_once,
            lease=timedelta(seconds=settings.refund_lease_seconds),
            options=(joinedload(Refund.purchase, innerjoin=True).selectinload(Purchase.payments),),
        )
        leased = [_in_hand(row) for row in rows]
        for row in rows:
            row.state = RefundState.SENT if row.state is RefundState.REQUESTED else row.state
    return leased


def _in_hand(row: Refund) -> LeasedRefund:
    if row.lease_token is None:
        raise ValueError("a leased row has a token")
    return LeasedRefund(
        request=PayoutRequest(
            refund_id=row.id,
            reference_number=row.purchase.reference_number,
            amount=row.amount,
            currency=row.purchase.currency,
            payment_type=row.purchase.payment_type,
            payment_references=tuple(p.provider_reference for p in row.purchase.payments if p.provider_reference),
        ),
        purchase_id=row.purchase_id,
        token=row.lease_token,
        origin=Origin(
            client_id=row.client_id,
            actor=row.actor,
            message_id=row.id,
            correlation_id=row.correlation_id,
            traceparent=row.traceparent,
            reason=row.reason_given,
        ),
        asked_before=row.state is not RefundState.REQUESTED,
    )


async def _settle(runtime: Runtime[Settings], provider: RefundProvider, refund: LeasedRefund) -> None:
    outcome = await _ask(provider, refund, runtime.settings.provider_timeout_seconds)
    failpoint("refund_provider_called")
    async with runtime.work(refund.origin) as work:
        await settle_refund(work, refund.purchase_id, refund.request.refund_id, refund.token, outcome)


async def _ask(provider: RefundProvider, refund: LeasedRefund, seconds: float) -> PayoutOutcome:
    try:
        if refund.asked_before:
            async with asyncio.timeout(seconds):
                known = await provider.find(refund.request.refund_id)
            if known is not None:
                return known
        async with asyncio.timeout(seconds):
            return await provider.refund(refund.request)
    except Exception as error:  # noqa: BLE001 - whatever went wrong out there, the money may have moved
        logger().warning("refund_outcome_unknown", error=error)
        return OutcomeUnknown(type(error).__name__)


async def refunds(runtime: Runtime[Settings]) -> int:
    """One round of the job."""
    return await hand_out_refunds(runtime, provider_of(runtime))


JOBS: tuple[Job[Settings], ...] = (Job(JOB, refunds),)
