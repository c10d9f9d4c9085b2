"""Nobody learns any more who the customer was, and late news do not bring it back."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from services.customers.customer.anonymize import anonymize_customer
from services.customers.models import CustomersTables
from services.customers.purchase.record import record_mail, record_purchase
from shared.contracts.customers import AnonymizeCustomer, CustomerAnonymized, MergeCustomers, UnmergeCustomer
from shared.contracts.notifications import EmailQueued, EmailSent, EmailType
from shared.contracts.purchases import PurchaseRecorded
from shared.contracts.refusals import Refused
from shared.ids import new_id
from tests.integration.customers.arranging import (
    CustomersService,
    a_client,
    recorded,
    refund_completed,
    refund_requested,
)
from tests.support.make import ORDERED_AT, contact

CANARY = "Zyxwvut"


async def everything(service: CustomersService) -> str:
    """All that the database holds, as text."""
    parts = []
    async with service.sessions() as session:
        for table in CustomersTables.metadata.tables.values():
            rows = await session.execute(text(f'SELECT "{table.name}"::text FROM "{table.name}"'))
            parts += [row[0] for row in rows]
        rows = await session.execute(text("SELECT convert_from(body, 'UTF8') FROM outbox"))
        parts += [row[0] for row in rows]
    return "\n".join(parts)


def canary() -> dict[str, str]:
    return {
        "last_name": CANARY,
        "first_name": f"Pre{CANARY}",
        "email": f"{CANARY.lower()}@{CANARY.lower()}.example.com",
        "street1": f"{CANARY} Street",
        "city": f"{CANARY}ville",
        "phone": "+49 555 777333",
    }


async def test_nothing_of_the_person_stays_and_late_news_do_not_bring_it_back(service: CustomersService) -> None:
    client = a_client()
    before, late = recorded(contact(**canary()), customer_reference=f"ref-{CANARY}"), recorded(contact(**canary()))
    await service.ask(client, before)
    mail = EmailSent(
        email_id=new_id(),
        reference_number=before.reference_number,
        email_type=EmailType.RECEIPT,
        subject=f"Dear {CANARY}",
        sent_at=ORDERED_AT,
        attempt=1,
    )
    await service.ask(client, mail)
    customer = (await service.owner(client, before.reference_number)).customer_id
    assert CANARY.lower() in (await everything(service)).lower()

    await service.ask(client, AnonymizeCustomer(customer_id=customer))
    for event in (before, late, mail):
        await service.ask(client, event)
    dump = (await everything(service)).lower()
    assert CANARY.lower() not in dump
    assert "777333" not in dump

    view = await service.owner(client, late.reference_number)
    assert view.customer_id == customer
    assert view.contacts[0].contact.last_name == "XXX"
    assert view.contacts[0].contact.country == "DE"
    assert view.contacts[0].contact.company is None
    assert {p.card_last4 for p in view.purchases} == {None}
    assert not any(action.allowed for action in view.actions)
    assert await service.find(client, before.reference_number) == [customer]
    assert await service.find(client, "xxx") == await service.find(client, "4242") == []
    told = [m for m in await service.sent_for(client) if isinstance(m, CustomerAnonymized)]
    assert [m.reference_numbers for m in told] == [(before.reference_number,), (late.reference_number,)]
    assert [m.client_order_ids for m in told] == [(before.client_order_id,), (late.client_order_id,)]


async def test_who_buys_again_afterwards_is_a_new_customer(service: CustomersService) -> None:
    client, first = a_client(), recorded()
    await service.ask(client, first)
    forgotten = (await service.owner(client, first.reference_number)).customer_id
    await service.ask(client, AnonymizeCustomer(customer_id=forgotten))
    again = recorded(ordered_at=datetime.now(UTC) + timedelta(seconds=1))
    await service.ask(client, again)
    assert (await service.owner(client, again.reference_number)).customer_id != forgotten


async def test_news_that_come_while_the_person_is_forgotten_do_not_bring_it_back(service: CustomersService) -> None:
    client, first, second = a_client(), recorded(contact(**canary())), recorded(contact(**canary()))
    await service.ask(client, first)
    customer = (await service.owner(client, first.reference_number)).customer_id
    async with service.act(client) as work:
        await anonymize_customer(work, AnonymizeCustomer(customer_id=customer))
        late = [asyncio.create_task(service.ask(client, news)) for news in (second, _mail(first))]
        await service.until_waiting(len(late))
    await asyncio.gather(*late)
    await _nothing_came_back(service, client, first, second)


async def test_news_in_the_batch_that_forgets_the_person_do_not_bring_it_back(service: CustomersService) -> None:
    """The messages of a batch share a transaction and a session."""
    client, first, second = a_client(), recorded(contact(**canary())), recorded(contact(**canary()))
    await service.ask(client, first)
    customer = (await service.owner(client, first.reference_number)).customer_id
    async with service.act(client) as work:
        await anonymize_customer(work, AnonymizeCustomer(customer_id=customer))
        await record_mail(work, _mail(first))
        await record_purchase(work, second)
    await _nothing_came_back(service, client, first, second)


def _mail(purchase: PurchaseRecorded) -> EmailQueued:
    return EmailQueued(
        email_id=new_id(),
        reference_number=purchase.reference_number,
        email_type=EmailType.RECEIPT,
        subject=f"Dear {CANARY}",
    )


async def _nothing_came_back(
    service: CustomersService, client: str, first: PurchaseRecorded, second: PurchaseRecorded
) -> None:
    """The second purchase is the forgotten customer's, and the mail about the first told nothing."""
    assert CANARY.lower() not in (await everything(service)).lower()
    view = await service.owner(client, second.reference_number)
    assert view.customer_id == (await service.owner(client, first.reference_number)).customer_id
    assert {p.card_last4 for p in view.purchases} == {None}
    assert [(a.subject, "title" in a.facts) for a in view.announcements] == [("email.queued", False)]
    told = [m.reference_numbers for m in await service.sent_for(client) if isinstance(m, CustomerAnonymized)]
    assert told == [(first.reference_number,), (second.reference_number,)]


async def test_aliases_go_with_their_customer_and_stay(service: CustomersService) -> None:
    client = a_client()
    survivor = await service.create(client, last_name="A")
    alias = await service.create(client, last_name=CANARY)
    await service.ask(client, MergeCustomers(survivor_id=survivor, merged_id=alias))
    with pytest.raises(Refused, match="customer_is_alias"):
        await service.ask(client, AnonymizeCustomer(customer_id=alias))
    await service.ask(client, AnonymizeCustomer(customer_id=survivor))
    assert CANARY not in await everything(service)
    with pytest.raises(Refused, match="customer_anonymized"):
        await service.ask(client, UnmergeCustomer(customer_id=alias))
    with pytest.raises(Refused, match="customer_anonymized"):
        await service.ask(client, AnonymizeCustomer(customer_id=survivor))
    told = {m.customer_id for m in await service.sent_for(client) if isinstance(m, CustomerAnonymized)}
    assert told == {survivor, alias}


async def test_an_open_refund_is_waited_for(service: CustomersService) -> None:
    client, purchase = a_client(), recorded()
    await service.ask(client, purchase)
    customer = (await service.owner(client, purchase.reference_number)).customer_id
    requested = refund_requested(purchase)
    await service.ask(client, requested)
    with pytest.raises(Refused, match="refund_open"):
        await service.ask(client, AnonymizeCustomer(customer_id=customer))
    await service.ask(client, refund_completed(requested))
    await service.ask(client, AnonymizeCustomer(customer_id=customer))
