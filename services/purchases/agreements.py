"""What a client has agreed with the platform about refunds, as the directory told of it."""

from dataclasses import replace
from datetime import UTC, datetime

from services.purchases.domain import Standing, against_refund
from services.purchases.models import Purchase, PurchasesTables, client_copy
from services.purchases.purchases import standing
from shared.messaging.unit_of_work import UnitOfWork
from shared.staff.copies import is_platform_staff, settings_of


async def standing_for(work: UnitOfWork, purchase: Purchase) -> Standing:
    """How a purchase stands for whoever wants this piece of work. The platform's staff is bound by no agreement."""
    where = standing(purchase)
    settings = await settings_of(work.session, client_copy, purchase.client_id)
    if settings is None:
        return where
    no = against_refund(settings.refund_rights, settings.refund_window_days, purchase.paid_at, datetime.now(UTC))
    if no is None or await is_platform_staff(work, PurchasesTables.staff):
        return where
    return replace(where, against_refund=no)
