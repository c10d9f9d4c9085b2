"""Making customers by hand and changing their contacts."""

import pytest

from shared.contracts.customers import (
    AddContact,
    ContactDetails,
    CreateCustomer,
    CustomerUpdated,
    MergeContacts,
    UpdateContact,
)
from shared.contracts.purchases import ContactRole, PurchaseStatus, UpdatePurchaseContact
from shared.contracts.refusals import Refused
from tests.integration.customers.arranging import CustomersService, a_client, details, recorded
from tests.support.make import contact

BILLING, DELIVERY, LICENSEE = ContactRole.BILLING, ContactRole.DELIVERY, ContactRole.LICENSEE


async def names(service: CustomersService, client: str, customer_id: object) -> dict[ContactRole, str | None]:
    view = await service.get(client, customer_id)  # type: ignore[arg-type]
    return {role: shown.contact.last_name for shown in view.contacts for role in shown.roles}


async def test_a_customer_can_be_made_before_it_buys(service: CustomersService) -> None:
    client = a_client()
    customer_id = await service.create(client, customer_reference="C-1")
    purchase = recorded(customer_reference="C-1")
    await service.ask(client, purchase)
    assert (await service.owner(client, purchase.reference_number)).customer_id == customer_id


@pytest.mark.parametrize(
    "second", [{"customer_reference": "C-1", "email": "other@example.com"}, {"email": "ADA@example.com"}]
)
async def test_a_customer_exists_once_per_client(service: CustomersService, second: dict[str, str]) -> None:
    client = a_client()
    customer_id = await service.create(client, customer_reference="C-1")
    with pytest.raises(Refused) as refusal:
        await service.create(client, **second)
    assert (refusal.value.code, refusal.value.facts) == ("customer_exists", {"customer_id": str(customer_id)})
    assert await service.create(a_client(), **second) != customer_id


@pytest.mark.parametrize(
    ("role", "lacking", "paths"),
    [
        (BILLING, {"last_name": None}, ["contact.last_name"]),
        (BILLING, {"email": None, "country": None}, ["contact.country", "contact.email"]),
        (BILLING, {"country": "US"}, ["contact.state"]),
        (DELIVERY, {"email": None, "country": None}, ["contact.email"]),
        (DELIVERY, {"email": None, "street1": "Park Street 1"}, ["contact.city", "contact.postal_code"]),
        (LICENSEE, {"last_name": None, "email": None, "country": None}, ["contact.last_name"]),
    ],
)
async def test_each_role_needs_its_fields(
    service: CustomersService, role: ContactRole, lacking: dict[str, str | None], paths: list[str]
) -> None:
    given = {BILLING: details(), DELIVERY: details(), LICENSEE: details()} | {role: details(**lacking)}
    command = CreateCustomer(
        billing_contact=given[BILLING], delivery_contact=given[DELIVERY], licensee_contact=given[LICENSEE]
    )
    with pytest.raises(Refused) as refusal:
        await service.ask(a_client(), command)
    assert refusal.value.code == "contact_incomplete"
    assert sorted(error.path for error in refusal.value.errors) == paths


async def test_a_shared_contact_is_changed_for_every_role(service: CustomersService) -> None:
    client = a_client()
    customer_id = await service.create(client)
    reply = await service.ask(
        client, UpdateContact(customer_id=customer_id, role=DELIVERY, contact=details(last_name="King"))
    )
    assert (reply.version, reply.purchases_updated) == (2, 0)
    assert await names(service, client, customer_id) == dict.fromkeys(ContactRole, "King")
    assert await service.find(client, "king") == [customer_id]
    assert await service.find(client, "lovelace") == []
    assert isinstance((await service.sent_for(client))[-1], CustomerUpdated)


async def test_an_additional_contact_and_merging_it_back(service: CustomersService) -> None:
    client = a_client()
    customer_id = await service.create(client)
    added = AddContact(customer_id=customer_id, role=LICENSEE, contact=details(last_name="Byron"))
    await service.ask(client, added)
    assert await names(service, client, customer_id) == {
        BILLING: "Lovelace",
        DELIVERY: "Lovelace",
        LICENSEE: "Byron",
    }
    assert await service.find(client, "byron") == [customer_id]
    with pytest.raises(Refused, match="role_has_own_contact"):
        await service.ask(client, added)

    await service.ask(client, MergeContacts(customer_id=customer_id, into=LICENSEE, roles=(BILLING, DELIVERY)))
    assert await names(service, client, customer_id) == dict.fromkeys(ContactRole, "Byron")
    assert await service.find(client, "lovelace") == []
    with pytest.raises(Refused, match="contacts_already_shared"):
        await service.ask(client, MergeContacts(customer_id=customer_id, into=BILLING, roles=(DELIVERY,)))


async def test_a_contact_that_lacks_what_a_role_needs_is_not_merged_into_it(service: CustomersService) -> None:
    client = a_client()
    customer_id = await service.create(client)
    bare = ContactDetails(last_name="Byron")
    await service.ask(client, AddContact(customer_id=customer_id, role=LICENSEE, contact=bare))
    with pytest.raises(Refused, match="contact_incomplete"):
        await service.ask(client, MergeContacts(customer_id=customer_id, into=LICENSEE, roles=(BILLING,)))


async def test_the_profile_says_what_is_allowed_and_the_commands_obey(service: CustomersService) -> None:
    client = a_client()
    customer_id = await service.create(client)
    allowed = {action.name: action for action in (await service.get(client, customer_id)).actions}
    assert allowed["contact.add"].allowed
    assert allowed["contacts.merge"].code == "contacts_already_shared"
    with pytest.raises(Refused, match="contacts_already_shared"):
        await service.ask(client, MergeContacts(customer_id=customer_id, into=BILLING, roles=(DELIVERY,)))
    for role in (DELIVERY, LICENSEE):
        added = AddContact(customer_id=customer_id, role=role, contact=details(last_name=role.value))
        await service.ask(client, added)
    allowed = {action.name: action for action in (await service.get(client, customer_id)).actions}
    assert allowed["contact.add"].code == "no_role_shares_contact"
    assert allowed["contacts.merge"].allowed


async def test_unpaid_purchases_follow_where_that_is_wanted(service: CustomersService) -> None:
    client = a_client()
    unpaid, paid = recorded(status=PurchaseStatus.AWAITING_OFFLINE_PAYMENT), recorded()
    for purchase in (unpaid, paid):
        await service.ask(client, purchase)
    customer_id = (await service.owner(client, paid.reference_number)).customer_id
    new = details(last_name="King", salutation=None, city="London")

    reply = await service.ask(client, UpdateContact(customer_id=customer_id, role=BILLING, contact=new))
    assert reply.purchases_updated == 0
    wanted = UpdateContact(customer_id=customer_id, role=BILLING, contact=new, update_unpaid_purchases=True)
    reply = await service.ask(client, wanted)
    assert reply.purchases_updated == 1
    (asked,) = [m for m in await service.sent_for(client) if isinstance(m, UpdatePurchaseContact)]
    assert (asked.reference_number, asked.roles) == (unpaid.reference_number, tuple(ContactRole))
    assert asked.contact == contact(last_name="King", city="London")


async def test_who_changed_it_meanwhile_is_told(service: CustomersService) -> None:
    client = a_client()
    customer_id = await service.create(client)
    change = UpdateContact(customer_id=customer_id, role=BILLING, contact=details(), expected_version=1)
    await service.ask(client, change, actor="user:grace")
    with pytest.raises(Refused, match="version_conflict") as refusal:
        await service.ask(client, change)
    view = await service.get(client, customer_id)
    assert refusal.value.facts == {
        "customer_id": str(customer_id),
        "expected_version": 1,
        "version": 2,
        "changed_by": "user:grace",
        "changed_at": view.changed_at.isoformat(),
    }
    assert [(line.subject, line.actor) for line in view.history] == [
        ("contact.updated", "user:grace"),
        ("customer.created", "user:ada"),
    ]
