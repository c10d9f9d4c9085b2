"""Every purchase has a customer, and the profile knows how it stands."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.customers import CustomerCreated, CustomerKind, CustomerUpdated
from shared.contracts.notifications import EmailQueued, EmailSent, EmailType
from shared.contracts.purchases import ContactRole, PurchaseStatus
from shared.contracts.refusals import MissingPrerequisite
from shared.ids import new_id
from tests.integration.customers.arranging import (
    CustomersService,
    a_client,
    paid,
    recorded,
    refund_completed,
    refund_requested,
    status,
)
from tests.support.make import ORDERED_AT, contact, euros


async def test_a_purchase_makes_a_customer_with_one_shared_set_of_data(service: CustomersService) -> None:
    client, purchase = a_client(), recorded()
    await service.ask(client, purchase)

    view = await service.owner(client, purchase.reference_number)
    assert (view.kind, view.version, view.client_id) == (CustomerKind.PERSON, 1, client)
    assert [shown.roles for shown in view.contacts] == [tuple(ContactRole)]
    assert view.contacts[0].contact.last_name == "Lovelace"
    assert [p.reference_number for p in view.purchases] == [purchase.reference_number]
    assert [type(message) for message in await service.sent_for(client)] == [CustomerCreated]


async def test_separate_contacts_stay_separate_and_equal_ones_are_shared(service: CustomersService) -> None:
    client = a_client()
    purchase = recorded(delivery_contact=contact(last_name="Byron"))
    await service.ask(client, purchase)
    view = await service.owner(client, purchase.reference_number)
    assert [(shown.roles, shown.contact.last_name) for shown in view.contacts] == [
        ((ContactRole.BILLING, ContactRole.LICENSEE), "Lovelace"),
        ((ContactRole.DELIVERY,), "Byron"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({}, {"email": "ADA@Example.com", "last_name": "LOVELACE"}, True),
        ({"last_name": "Müller"}, {"last_name": "Mu\u0308ller"}, True),
        ({}, {"last_name": "Byron"}, False),
        ({}, {"email": "adá@example.com"}, False),
        ({"last_name": None, "company": "Acme"}, {"last_name": None, "company": "ACME "}, True),
        ({"last_name": "İnce"}, {"last_name": "ince"}, True),
    ],
)
async def test_who_is_the_same_customer(
    service: CustomersService, first: dict[str, str], second: dict[str, str], same: bool
) -> None:
    client = a_client()
    one, two = recorded(contact(**first)), recorded(contact(**second))
    await service.ask(client, one)
    await service.ask(client, two)
    owners = {(await service.owner(client, purchase.reference_number)).customer_id for purchase in (one, two)}
    assert (len(owners) == 1) is same


async def test_the_clients_own_reference_comes_first(service: CustomersService) -> None:
    client = a_client()
    by_name = recorded()
    named = recorded(customer_reference="C-1")
    moved = recorded(contact(email="new@example.com", last_name="King"), customer_reference="C-1")
    other = recorded(customer_reference="C-2")
    for purchase in (by_name, named, moved, other):
        await service.ask(client, purchase)

    first = await service.owner(client, by_name.reference_number)
    assert first.customer_reference == "C-1"
    assert {p.reference_number for p in first.purchases} == {p.reference_number for p in (by_name, named, moved)}
    assert (await service.owner(client, other.reference_number)).customer_id != first.customer_id
    assert any(isinstance(message, CustomerUpdated) for message in await service.sent_for(client))


async def test_an_organisation_is_a_customer(service: CustomersService) -> None:
    client, purchase = a_client(), recorded(contact(last_name=None, company="Analytical Engines Ltd"))
    await service.ask(client, purchase)
    view = await service.owner(client, purchase.reference_number)
    assert view.kind is CustomerKind.ORGANISATION


async def test_ten_purchases_at_once_make_one_customer(service: CustomersService) -> None:
    client, purchases = a_client(), [recorded(customer_reference="C-1") for _ in range(10)]
    await asyncio.gather(*(service.ask(client, purchase) for purchase in purchases))
    owners = {(await service.owner(client, p.reference_number)).customer_id for p in purchases}
    assert len(owners) == 1
    created = [message for message in await service.sent_for(client) if isinstance(message, CustomerCreated)]
    assert len(created) == 1


@pytest.mark.parametrize("seed", range(5))
async def test_the_order_of_the_news_does_not_matter(service: CustomersService, seed: int) -> None:
    client, purchase = a_client(), recorded(status=PurchaseStatus.AWAITING_OFFLINE_PAYMENT)
    await service.ask(client, purchase)
    requested = refund_requested(purchase, 400)
    news = [
        status(purchase, PurchaseStatus.PAID, 2),
        status(purchase, PurchaseStatus.PARTIALLY_REFUNDED, 4),
        status(purchase, PurchaseStatus.PAID, 3),
        paid(purchase, 600),
        paid(purchase, 400),
        requested,
        refund_completed(requested),
    ]
    random.Random(seed).shuffle(news)
    for event in news:
        await service.ask(client, event)
        await service.ask(client, event)

    (shown,) = (await service.owner(client, purchase.reference_number)).purchases
    assert shown.status is PurchaseStatus.PARTIALLY_REFUNDED
    assert (shown.paid, shown.refunded, shown.open_refunds) == (euros(1000), euros(400), 0)
    (totals,) = (await service.owner(client, purchase.reference_number)).totals
    assert (totals.purchases, totals.gross, totals.paid, totals.refunded) == (
        1,
        euros(1000),
        euros(1000),
        euros(400),
    )


async def test_news_of_an_unknown_purchase_wait_for_it(service: CustomersService) -> None:
    client, purchase = a_client(), recorded()
    requested = refund_requested(purchase)
    for event in (paid(purchase), status(purchase, PurchaseStatus.PAID, 2), requested, refund_completed(requested)):
        with pytest.raises(MissingPrerequisite) as refusal:
            await service.ask(client, event)
        assert refusal.value.code == "purchase_not_found"


async def test_mails_are_announced_in_the_profile(service: CustomersService) -> None:
    client, purchase = a_client(), recorded()
    await service.ask(client, purchase)
    email: dict[str, Any] = {
        "email_id": new_id(),
        "reference_number": purchase.reference_number,
        "email_type": EmailType.RECEIPT,
        "subject": "Your receipt",
    }
    sent_at = ORDERED_AT + timedelta(minutes=5)
    await service.ask(client, EmailSent(**email, sent_at=sent_at, attempt=1))
    await service.ask(client, EmailQueued(**email))

    view = await service.owner(client, purchase.reference_number)
    assert {(a.subject, a.facts["title"]) for a in view.announcements} == {
        ("email.sent", "Your receipt"),
        ("email.queued", "Your receipt"),
    }
    assert next(a for a in view.announcements if a.subject == "email.sent").at == sent_at
