"""What news of every purchase ask of the database: under load the number of statements is the price."""

import pytest
from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState

from services.customers.purchase.record import (
    record_mail,
    record_payment,
    record_purchase,
    record_refund_requested,
    record_status,
)
from shared.contracts.notifications import EmailQueued, EmailType
from shared.contracts.purchases import PurchaseRecorded, PurchaseStatus
from shared.contracts.refusals import MissingPrerequisite
from shared.ids import new_id
from tests.integration.customers.arranging import CustomersService, a_client, paid, recorded, refund_requested, status
from tests.support.make import contact
from tests.support.statements import noted_statements


def queued(purchase: PurchaseRecorded) -> EmailQueued:
    return EmailQueued(
        email_id=new_id(),
        reference_number=purchase.reference_number,
        email_type=EmailType.RECEIPT,
        subject="Your receipt",
    )


async def test_a_purchase_of_a_new_customer_takes_four_statements_of_a_known_one_three(
    service: CustomersService,
) -> None:
    client = a_client()
    first = recorded(customer_reference="C-1", delivery_contact=contact(last_name="Byron"))
    async with service.act(client) as work:
        with noted_statements(service.sessions) as noted:
            await record_purchase(work, first)
    assert len(noted) == 4
    async with service.act(client) as work:
        with noted_statements(service.sessions) as noted:
            await record_purchase(work, recorded(customer_reference="C-1"))
    assert len(noted) == 3
    async with service.act(client) as work:
        with noted_statements(service.sessions) as noted:
            await record_purchase(work, first)
    assert len(noted) == 2


async def test_news_of_a_purchase_take_one_statement(service: CustomersService) -> None:
    client, purchase = a_client(), recorded()
    await service.ask(client, purchase)
    async with service.act(client) as work:
        with noted_statements(service.sessions) as noted:
            await record_payment(work, paid(purchase))
            await record_refund_requested(work, refund_requested(purchase))
            await record_status(work, status(purchase, PurchaseStatus.PARTIALLY_REFUNDED, 2))
            await record_mail(work, queued(purchase))
    assert len(noted) == 4


async def test_news_of_an_unknown_purchase_are_refused_before_anything_is_written(service: CustomersService) -> None:
    """In a shared transaction a refusal after a write makes every message of the batch run alone."""
    purchase, writes = recorded(), list[str]()

    def note(state: ORMExecuteState) -> None:
        if state.is_insert or state.is_update or state.is_delete:
            writes.append(str(state.statement))

    async with service.act(a_client()) as work:
        event.listen(work.session.sync_session, "do_orm_execute", note)
        for coroutine in (
            record_payment(work, paid(purchase)),
            record_refund_requested(work, refund_requested(purchase)),
            record_status(work, status(purchase, PurchaseStatus.PAID, 2)),
            record_mail(work, queued(purchase)),
        ):
            with pytest.raises(MissingPrerequisite, match="purchase_not_found"):
                await coroutine
        assert writes == []
        await record_purchase(work, purchase)
        assert len(writes) == 2
