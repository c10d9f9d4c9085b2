"""Contacts of unpaid purchases follow the customer; those of a forgotten customer go."""

import pytest
from sqlalchemy import select

from services.purchases.history.record_email import record_bounced
from services.purchases.models import PurchasesTables
from services.purchases.payment.record import record_payment
from services.purchases.purchase.anonymize import anonymize_purchases
from services.purchases.purchase.update_contact import update_contact
from services.purchases.purchase.view import get_purchase
from services.purchases.refund.request import request_refund
from services.purchases.search import search_purchases
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.notifications import EmailBounced, EmailType
from shared.contracts.purchases import (
    ContactRole,
    GetPurchase,
    Payment,
    PaymentType,
    PurchaseChanged,
    PurchaseView,
    RecordPayment,
    RefundReason,
    SearchPurchases,
    UpdatePurchaseContact,
)
from shared.contracts.refusals import Refused
from shared.ids import new_id
from tests.integration.purchases.arranging import PurchasesService, recorded, refund
from tests.integration.purchases.payouts import ScriptedProvider, hand_out_refunds
from tests.support.make import ORDERED_AT, contact, euros, order
from tests.support.service import context


async def view(service: PurchasesService, reference_number: str) -> PurchaseView:
    async with service.work(context()) as work:
        return await get_purchase(work, GetPurchase(reference_number=reference_number))


async def found(service: PurchasesService, keywords: str) -> list[str]:
    async with service.work(context()) as work:
        page = await search_purchases(work, SearchPurchases(keywords=keywords))
    return [row.reference_number for row in page.rows]


def update(purchase: PurchaseChanged, *roles: ContactRole) -> UpdatePurchaseContact:
    new = contact(last_name="Kingsley", email="kingsley@example.org")
    return UpdatePurchaseContact(reference_number=purchase.reference_number, roles=roles, contact=new)


async def anonymize(service: PurchasesService, purchase: PurchaseChanged, client: str = "acme") -> None:
    event = CustomerAnonymized(customer_id=new_id(), version=2, reference_numbers=(purchase.reference_number,))
    async with service.work(context(client)) as work:
        await anonymize_purchases(work, event)


async def everything_stored(service: PurchasesService) -> str:
    """Every row of every table, the inbox and the outbox too."""
    async with service.sessions() as session:
        tables = PurchasesTables.metadata.sorted_tables
        return str([(await session.execute(select(table))).all() for table in tables])


async def test_the_contacts_of_an_unpaid_purchase_follow(service: PurchasesService) -> None:
    purchase = await recorded(service, order(paid=0, payment_type=PaymentType.WIRE_TRANSFER, card_last4=None))
    async with service.work(context()) as work:
        changed = await update_contact(work, update(purchase, ContactRole.BILLING, ContactRole.DELIVERY))
    assert changed.version == purchase.version + 1
    shown = await view(service, purchase.reference_number)
    names = (shown.billing_contact.last_name, shown.delivery_contact.last_name, shown.licensee_contact.last_name)
    assert names == ("Kingsley", "Kingsley", "Lovelace")
    assert shown.history[0].subject == "contact.updated"
    assert shown.history[0].facts == {"roles": "billing, delivery"}
    assert purchase.reference_number in await found(service, "kingsley@example.org")


async def test_the_contacts_of_a_paid_purchase_stay(service: PurchasesService) -> None:
    purchase = await recorded(service)
    with pytest.raises(Refused, match="purchase_already_paid"):
        async with service.work(context()) as work:
            await update_contact(work, update(purchase, ContactRole.BILLING))


async def test_of_a_forgotten_customer_the_money_stays_and_the_person_goes(service: PurchasesService) -> None:
    person = contact(last_name="Forgotten", email="forgotten@example.net", phone="+49 123", state="Bavaria")
    purchase = await recorded(service, order(billing_contact=person, customer_reference="Forgotten-1"))
    async with service.work(context()) as work:
        await request_refund(work, refund(purchase, reason=RefundReason.OTHER, remark="Forgotten called"))
    mail = EmailBounced(
        email_id=new_id(),
        reference_number=purchase.reference_number,
        email_type=EmailType.RECEIPT,
        subject="Dear Forgotten",
        reason="no Forgotten here",
    )
    await anonymize(service, purchase, client="another")
    assert (await view(service, purchase.reference_number)).billing_contact.last_name == "Forgotten"

    await anonymize(service, purchase)
    async with service.work(context()) as work:
        await record_bounced(work, mail)
    shown = await view(service, purchase.reference_number)
    assert "Forgotten" not in shown.model_dump_json().replace("forgotten", "Forgotten")
    assert (shown.billing_contact.country, shown.gross.amount, shown.refunded.amount) == ("DE", 1000, 1000)
    assert shown.history[0].facts["reason"] == "XXX"
    assert await found(service, purchase.reference_number) == [purchase.reference_number]
    for keywords in ("forgotten", "forgotten@example.net", "xxx", "anonymized@example.com"):
        assert purchase.reference_number not in await found(service, keywords)
    with pytest.raises(Refused, match="purchase_anonymized"):
        async with service.work(context()) as work:
            await update_contact(work, update(purchase, ContactRole.BILLING))


@pytest.mark.usefixtures("no_other_refunds")
async def test_what_is_written_about_a_forgotten_customer_later_is_not_kept(service: PurchasesService) -> None:
    """Every free text that a command may bring, and what the provider says, wherever it could be stored."""
    canary = "canary"
    purchase = await recorded(service, order(paid=400))
    await anonymize(service, purchase)
    rest = Payment(amount=euros(600), paid_at=ORDERED_AT)
    async with service.work(context(reason=f"{canary} wrote")) as work:
        await record_payment(work, RecordPayment(reference_number=purchase.reference_number, payment=rest))
    async with service.work(context(reason=f"{canary} called")) as work:
        wanted = refund(purchase, reason=RefundReason.OTHER, remark=f"{canary} is angry")
        await request_refund(work, wanted)
    await hand_out_refunds(service, ScriptedProvider(refuse=f"the account of {canary} is closed"))

    shown = await view(service, purchase.reference_number)
    assert (shown.refunds[0].remark, shown.refunds[0].failure, shown.refunds[0].reason) == ("XXX", "XXX", "other")
    requested = next(entry for entry in shown.history if entry.subject == "refund.requested")
    assert (requested.facts["remark"], requested.facts["reason"]) == ("XXX", "other")
    assert canary not in await everything_stored(service)


@pytest.mark.usefixtures("no_other_refunds")
async def test_what_a_provider_said_of_a_customer_goes_with_the_customer(service: PurchasesService) -> None:
    purchase = await recorded(service)
    async with service.work(context()) as work:
        await request_refund(work, refund(purchase))
    await hand_out_refunds(service, ScriptedProvider(refuse="the account of Forgotten is closed"))
    await anonymize(service, purchase)
    assert (await view(service, purchase.reference_number)).refunds[0].failure == "XXX"
