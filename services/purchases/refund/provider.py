"""The port to whoever pays refunds out, and what may come of it.

Texts are the provider's own: they may hold anything, and are made fit when the outcome is booked.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from shared.contracts.purchases import PaymentType


@dataclass(frozen=True)
class PayoutRequest:
    """What the provider is asked to pay, once per `refund_id` however often it is asked."""

    refund_id: UUID
    reference_number: str
    amount: int
    currency: str
    payment_type: PaymentType
    payment_references: tuple[str, ...]
    """The provider's own ids of the payments that are returned."""


@dataclass(frozen=True)
class PaidOut:
    """The money has gone."""

    provider_reference: str
    at: datetime


@dataclass(frozen=True)
class PayoutRefused:
    """The money has not gone and will not."""

    failure: str


@dataclass(frozen=True)
class OutcomeUnknown:
    """Nobody knows yet; ask again."""

    detail: str


PayoutOutcome = PaidOut | PayoutRefused | OutcomeUnknown


class RefundProvider(Protocol):
    """A payment provider. Any exception of an adapter means: outcome unknown."""

    async def refund(self, request: PayoutRequest) -> PayoutOutcome:
        """Pay out. The same refund id again pays nothing and answers what became of the first."""
        ...

    async def find(self, refund_id: UUID) -> PayoutOutcome | None:
        """What became of a refund; None if the provider has never heard of it."""
        ...
