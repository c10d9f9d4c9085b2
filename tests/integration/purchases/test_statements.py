"""What the use cases of every purchase ask of the database: under load the number of statements is the price."""

import pytest
from sqlalchemy import select

from services.purchases.history import record_email
from services.purchases.models import Purchase
from services.purchases.payment.record import record_payment
from services.purchases.purchase.record import record_purchase
from services.purchases.purchase.store import lock_purchases
from services.purchases.purchase.update_contact import update_contact
from services.purchases.refund.request import request_refund
from shared.contracts.notifications import EmailSent, EmailType
from shared.contracts.purchases import ContactRole, Payment, PaymentType, RecordPayment, UpdatePurchaseContact
from shared.ids import new_id
from tests.integration.purchases.arranging import PurchasesService, recorded, refund
from tests.support.make import ORDERED_AT, contact, euros, item, order
from tests.support.service import context
from tests.support.statements import noted_statements


def tables(texts: list[str]) -> list[str]:
    """`INSERT purchase` for a statement that inserts purchases, and so on."""
    found = []
    for text in texts:
        words = text.replace("\n", " ").split()
        before = {"INSERT": "INTO", "SELECT": "FROM", "UPDATE": "UPDATE", "DELETE": "FROM"}[words[0]]
        found.append(f"{words[0]} {words[words.index(before) + 1]}" if before in words else words[0])
    return found


async def test_a_paid_order_of_two_products_takes_one_insert_for_each_table(service: PurchasesService) -> None:
    command = order(item(1000, 2), item(500))
    with noted_statements(service.sessions) as noted:
        async with service.work(context()) as work:
            await record_purchase(work, command)
    assert tables(noted) == [
        "INSERT purchase",
        "INSERT purchase_item",
        "INSERT search_key",
        "INSERT payment",
        "INSERT outbox",
        "INSERT history_entry",
    ]


async def test_a_batch_locks_what_its_messages_change_at_once_and_nothing_for_new_orders(
    service: PurchasesService,
) -> None:
    purchase = await recorded(service)
    by = context()
    with noted_statements(service.sessions) as noted:
        async with service.sessions() as session, session.begin():
            await lock_purchases(session, [(order(), by), (order(), by)])
            assert noted == []
            await lock_purchases(session, [(order(), by), (refund(purchase), by)])
            assert tables(noted) == ["SELECT purchase", "SELECT purchase_item"]
            async with service.sessions() as other:
                free = await other.scalar(
                    select(Purchase.id).where(Purchase.id == purchase.purchase_id).with_for_update(skip_locked=True)
                )
    assert free is None


async def test_a_payment_reads_no_item_twice(service: PurchasesService) -> None:
    purchase = await recorded(service, order(paid=0, payment_type=PaymentType.WIRE_TRANSFER))
    command = RecordPayment(
        reference_number=purchase.reference_number, payment=Payment(amount=euros(1000), paid_at=ORDERED_AT)
    )
    with noted_statements(service.sessions) as noted:
        async with service.work(context()) as work:
            await record_payment(work, command)
    assert tables(noted) == [
        "SELECT purchase",
        "SELECT purchase_item",
        "INSERT payment",
        "UPDATE purchase",
        "INSERT outbox",
        "INSERT history_entry",
    ]


async def test_a_new_contact_writes_the_purchase_once(service: PurchasesService) -> None:
    purchase = await recorded(service, order(paid=0, payment_type=PaymentType.WIRE_TRANSFER))
    command = UpdatePurchaseContact(
        reference_number=purchase.reference_number, roles=(ContactRole.BILLING,), contact=contact(last_name="Byron")
    )
    with noted_statements(service.sessions) as noted:
        async with service.work(context()) as work:
            await update_contact(work, command)
    assert tables(noted) == [
        "SELECT purchase",
        "SELECT purchase_item",
        "DELETE search_key",
        "INSERT search_key",
        "UPDATE purchase",
        "INSERT outbox",
        "INSERT history_entry",
    ]


async def test_a_mail_takes_one_look_and_one_entry(service: PurchasesService) -> None:
    purchase = await recorded(service)
    sent = EmailSent(
        email_id=new_id(),
        reference_number=purchase.reference_number,
        email_type=EmailType.RECEIPT,
        subject="Your receipt",
        sent_at=ORDERED_AT,
        attempt=1,
    )
    with noted_statements(service.sessions) as noted:
        async with service.work(context()) as work:
            await record_email.record_sent(work, sent)
    assert tables(noted) == ["SELECT purchase", "INSERT outbox", "INSERT history_entry"]


@pytest.mark.parametrize("products", [1, 3])
async def test_a_refund_changes_every_table_once(service: PurchasesService, products: int) -> None:
    purchase = await recorded(service, order(*(item(1000) for _ in range(products))))
    with noted_statements(service.sessions) as noted:
        async with service.work(context()) as work:
            await request_refund(work, refund(purchase))
    assert tables(noted) == [
        "SELECT purchase",
        "SELECT purchase_item",
        "SELECT client_copy",
        "INSERT refund",
        "UPDATE purchase",
        "UPDATE purchase_item",
        "INSERT refund_line",
        "INSERT outbox",
        "INSERT history_entry",
    ]
