"""What became of a mail stands in the purchase's history."""

import pytest

from services.purchases.history import record_email
from services.purchases.purchase.view import get_purchase
from shared.contracts.notifications import EmailBounced, EmailFailed, EmailSent, EmailType
from shared.contracts.purchases import GetPurchase, HistoryEntryAdded
from shared.contracts.refusals import MissingPrerequisite
from shared.ids import new_id
from tests.integration.purchases.arranging import PurchasesService, recorded
from tests.support.make import ORDERED_AT
from tests.support.service import context


def about(reference_number: str) -> dict[str, object]:
    return {
        "email_id": new_id(),
        "reference_number": reference_number,
        "email_type": EmailType.RECEIPT,
        "subject": "Your receipt",
    }


async def test_mails_stand_in_the_history_and_leave_the_version(service: PurchasesService) -> None:
    purchase = await recorded(service)
    by = context(actor="service:notifications")
    given = about(purchase.reference_number)
    async with service.work(by) as work:
        await record_email.record_sent(work, EmailSent.model_validate(given | {"sent_at": ORDERED_AT, "attempt": 2}))
        await record_email.record_bounced(work, EmailBounced.model_validate(given | {"reason": "550 no such user"}))
        await record_email.record_failed(work, EmailFailed.model_validate(given | {"reason": "given up"}))
    async with service.work(context()) as work:
        shown = await get_purchase(work, GetPurchase(reference_number=purchase.reference_number))
    assert [entry.subject for entry in shown.history[:3]] == ["email.failed", "email.bounced", "email.sent"]
    assert (shown.history[2].at, shown.history[2].facts["attempt"]) == (ORDERED_AT, 2)
    assert shown.history[1].facts["reason"] == "550 no such user"
    assert {entry.actor for entry in shown.history[:3]} == {"service:notifications"}
    assert shown.version == purchase.version
    sent = await service.sent_in(by.correlation_id)
    assert [type(message) for message in sent] == [HistoryEntryAdded] * 3


async def test_a_mail_about_a_purchase_that_is_not_there_waits(service: PurchasesService) -> None:
    purchase = await recorded(service)
    event = EmailSent.model_validate(about(purchase.reference_number) | {"sent_at": ORDERED_AT, "attempt": 1})
    with pytest.raises(MissingPrerequisite, match="purchase_not_found"):
        async with service.work(context("other")) as work:
            await record_email.record_sent(work, event)
