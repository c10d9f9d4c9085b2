"""Two clients never see each other's customers: every command and every query, generated from the handlers."""

from collections.abc import Callable
from uuid import UUID

import pytest

from services.customers.handlers import handlers
from shared.contracts.customers import (
    AddContact,
    AnonymizeCustomer,
    CreateCustomer,
    GetCustomer,
    ListDuplicates,
    MergeContacts,
    MergeCustomers,
    PreviewMerge,
    SearchCustomers,
    UnmergeCustomer,
    UpdateContact,
)
from shared.contracts.message import Message
from shared.contracts.purchases import ContactRole, PurchaseStatus
from shared.contracts.refusals import Refused
from shared.messaging.names import QueueKind
from tests.integration.customers.arranging import (
    CustomersService,
    a_client,
    details,
    paid,
    recorded,
    refund_requested,
    status,
)
from tests.support.make import contact

B = ContactRole.BILLING
D = ContactRole.DELIVERY
# For each message: how another client would name a customer that is not its own, and its own one beside it.
ABOUT: dict[type[Message], Callable[[UUID, UUID], Message]] = {
    AddContact: lambda theirs, _: AddContact(customer_id=theirs, role=D, contact=details()),
    UpdateContact: lambda theirs, _: UpdateContact(customer_id=theirs, role=B, contact=details()),
    MergeContacts: lambda theirs, _: MergeContacts(customer_id=theirs, into=B, roles=(D,)),
    MergeCustomers: lambda theirs, own: MergeCustomers(survivor_id=own, merged_id=theirs),
    UnmergeCustomer: lambda theirs, _: UnmergeCustomer(customer_id=theirs),
    AnonymizeCustomer: lambda theirs, _: AnonymizeCustomer(customer_id=theirs),
    GetCustomer: lambda theirs, _: GetCustomer(customer_id=theirs),
    PreviewMerge: lambda theirs, own: PreviewMerge(customer_ids=(own, theirs)),
}
# These name no customer; each has a test of its own below.
WITHOUT_ADDRESS = {CreateCustomer, SearchCustomers, ListDuplicates}


def _key(message: type[Message]) -> str:
    return message.key


ASKED = [route.message for route in handlers.routes if route.kind is not QueueKind.EVENTS]


def test_no_message_is_forgotten() -> None:
    assert set(ASKED) == ABOUT.keys() | WITHOUT_ADDRESS


ADDRESSED: list[type[Message]] = sorted(ABOUT, key=_key)


@pytest.mark.parametrize("message", ADDRESSED)
async def test_another_clients_customer_looks_like_none(service: CustomersService, message: type[Message]) -> None:
    owner, stranger = a_client(), a_client()
    theirs = await service.create(owner)
    own = await service.create(stranger, last_name="Own")
    before = await service.get(owner, theirs)
    with pytest.raises(Refused) as refusal:
        await service.ask(stranger, ABOUT[message](theirs, own))
    assert refusal.value.code == "customer_not_found"
    assert set(refusal.value.facts.values()) <= {str(theirs), None}
    assert await service.get(owner, theirs) == before


async def test_nothing_of_another_client_is_found_or_suggested(service: CustomersService) -> None:
    owner, stranger = a_client(), a_client()
    purchase = recorded(contact(company="Acme"), customer_reference="C-1")
    await service.ask(owner, purchase)
    for keywords in ("lovelace", "acme", "4242", purchase.reference_number, "ada@example.com", "@example.com"):
        assert len(await service.find(owner, keywords)) == 1
        assert await service.find(stranger, keywords) == []
    own = await service.create(stranger, customer_reference="C-1")
    assert (await service.ask(stranger, ListDuplicates())).rows == ()
    for query in (GetCustomer(reference_number=purchase.reference_number),):
        with pytest.raises(Refused, match="customer_not_found"):
            await service.ask(stranger, query)
    assert (await service.ask(stranger, GetCustomer(customer_reference="C-1"))).customer_id == own


async def test_events_of_one_client_do_not_touch_purchases_of_another(service: CustomersService) -> None:
    owner, stranger = a_client(), a_client()
    purchase = recorded()
    await service.ask(owner, purchase)
    before = await service.owner(owner, purchase.reference_number)
    for event in (paid(purchase), status(purchase, PurchaseStatus.CHARGEBACK, 9), refund_requested(purchase)):
        with pytest.raises(Refused, match="purchase_not_found"):
            await service.ask(stranger, event)
    assert await service.owner(owner, purchase.reference_number) == before


async def test_all_clients_mode_reads_everything_and_says_whose_it_is(service: CustomersService) -> None:
    clients = {a_client(), a_client()}
    for client in clients:
        await service.create(client, last_name="Everywhere")
    page = await service.ask("*", SearchCustomers(keywords="everywhere"))
    assert {row.client_id for row in page.rows} == clients
    one, two = [row.customer_id for row in page.rows]
    plan = await service.ask("*", PreviewMerge(customer_ids=(one, two)))
    assert plan.refusal.code == "different_clients"
    with pytest.raises(Refused, match="one_client_only"):
        await service.ask("*", ListDuplicates())
