"""Messages that have not left yet tell of nobody who is anonymized in the meantime."""

import json

from sqlalchemy import select

from services.purchases.models import PurchasesTables
from shared.contracts.purchases import PurchaseRecorded
from shared.messaging.anonymization import anonymize_outbox
from tests.integration.purchases.arranging import PurchasesService
from tests.support.samples import sample
from tests.support.service import context

OUTBOX = PurchasesTables.outbox


async def test_a_message_of_the_same_transaction_is_erased_too(service: PurchasesService) -> None:
    event = PurchaseRecorded.model_validate_json(json.dumps(sample(PurchaseRecorded)))
    event = event.model_copy(
        update={"billing_contact": event.billing_contact.model_copy(update={"last_name": "canary"})}
    )
    async with service.work(context()) as work:
        message_id = await work.publish(event, subject="about-her")
        await anonymize_outbox(work.session, OUTBOX, ["about-her"])
    async with service.sessions() as session:
        body = await session.scalar(select(OUTBOX.c.body).where(OUTBOX.c.message_id == message_id))
    assert body is not None
    assert b"canary" not in body
