"""The rows of payments."""

from typing import Final
from uuid import UUID

from sqlalchemy import insert

from services.purchases.models import Payment
from shared.contracts import purchases as contracts
from shared.ids import new_id
from shared.messaging.unit_of_work import UnitOfWork

_INSERT: Final = insert(Payment.__table__)


async def insert_payment(work: UnitOfWork, purchase_id: UUID, payment: contracts.Payment) -> UUID:
    """Store money that is counted in the purchase already; returns its id."""
    payment_id = new_id()
    row = {
        "id": payment_id,
        "purchase_id": purchase_id,
        "amount": payment.amount.amount,
        "paid_at": payment.paid_at,
        "provider_reference": payment.provider_reference,
        "recorded_by": work.context.actor,
    }
    with work.session.no_autoflush:  # The row of the purchase is written once, when its change is closed.
        await work.session.execute(_INSERT, row)
    return payment_id
