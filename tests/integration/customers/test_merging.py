"""Two records, one customer; and two again."""

import asyncio
from uuid import UUID

import pytest

from shared.contracts.customers import (
    CustomerMerged,
    CustomerUnmerged,
    CustomerView,
    ListDuplicates,
    MergeCustomers,
    PreviewMerge,
    UnmergeCustomer,
    UpdateContact,
)
from shared.contracts.purchases import ContactRole
from shared.contracts.refusals import MissingPrerequisite, Refused
from tests.integration.customers.arranging import (
    CustomersService,
    a_client,
    details,
    recorded,
    refund_completed,
    refund_requested,
)
from tests.support.make import contact


def shown(view: CustomerView) -> dict[str, object]:
    """A profile without the bookkeeping of its changes."""
    return view.model_dump(exclude={"version", "changed_at", "changed_by", "history"})


async def merge(service: CustomersService, client: str, survivor: UUID, merged: UUID) -> None:
    await service.ask(client, MergeCustomers(survivor_id=survivor, merged_id=merged))


async def test_later_purchases_follow_the_alias_and_undoing_gives_them_back(service: CustomersService) -> None:
    client = a_client()
    before, of_survivor = recorded(contact(last_name="Byron")), recorded()
    for purchase in (before, of_survivor):
        await service.ask(client, purchase)
    merged = (await service.owner(client, before.reference_number)).customer_id
    survivor = (await service.owner(client, of_survivor.reference_number)).customer_id
    profiles = [shown(await service.get(client, customer)) for customer in (survivor, merged)]

    await merge(service, client, survivor, merged)
    later = recorded(contact(last_name="Byron"))
    await service.ask(client, later)
    view = await service.owner(client, later.reference_number)
    assert view.customer_id == survivor
    assert {p.reference_number for p in view.purchases} == {p.reference_number for p in (before, of_survivor, later)}
    assert [alias.customer_id for alias in view.aliases] == [merged]
    assert await service.find(client, "byron") == await service.find(client, "lovelace") == [survivor]

    await service.ask(client, UnmergeCustomer(customer_id=merged))
    assert (await service.owner(client, later.reference_number)).customer_id == merged
    after = [shown(await service.get(client, customer)) for customer in (survivor, merged)]
    assert after[0] == profiles[0]
    new = [p for p in (await service.get(client, merged)).purchases if p.reference_number == later.reference_number]
    assert len(new) == 1
    assert {p.reference_number for p in (await service.get(client, merged)).purchases} == {
        before.reference_number,
        later.reference_number,
    }
    events = [m for m in await service.sent_for(client) if isinstance(m, CustomerMerged | CustomerUnmerged)]
    assert [(type(e), e.customer_id, e.survivor_id) for e in events] == [
        (CustomerMerged, merged, survivor),
        (CustomerUnmerged, merged, survivor),
    ]
    assert events[0].version < events[1].version


async def test_what_cannot_be_merged(service: CustomersService) -> None:
    client, other = a_client(), a_client()
    a, b, c = [await service.create(client, last_name=name) for name in ("A", "B", "C")]
    foreign = await service.create(other)

    async def code(survivor: UUID, merged: UUID) -> str:
        with pytest.raises(Refused) as refusal:
            await merge(service, client, survivor, merged)
        return refusal.value.code

    assert await code(a, a) == "same_customer"
    assert await code(a, foreign) == await code(foreign, a) == "customer_not_found"
    await merge(service, client, a, b)
    assert await code(b, a) == "merge_cycle"
    assert await code(b, c) == await code(c, b) == "customer_is_alias"
    await merge(service, client, c, a)
    assert await code(b, c) == "customer_is_alias"
    for alias in (a, b):
        with pytest.raises(Refused, match="customer_is_alias"):
            await service.ask(client, UpdateContact(customer_id=alias, role=ContactRole.BILLING, contact=details()))
    with pytest.raises(Refused, match="customer_not_merged"):
        await service.ask(client, UnmergeCustomer(customer_id=c))
    with pytest.raises(MissingPrerequisite, match="customer_not_found"):
        await service.ask(other, UnmergeCustomer(customer_id=a))


@pytest.mark.parametrize("of_survivor", [True, False])
async def test_an_open_refund_is_waited_for(service: CustomersService, of_survivor: bool) -> None:
    client, purchase = a_client(), recorded()
    await service.ask(client, purchase)
    one, two = (
        (await service.owner(client, purchase.reference_number)).customer_id,
        await service.create(client, last_name="B"),
    )
    pair = (one, two) if of_survivor else (two, one)
    requested = refund_requested(purchase)
    await service.ask(client, requested)
    with pytest.raises(Refused, match="refund_open"):
        await merge(service, client, *pair)
    plan = await service.ask(client, PreviewMerge(customer_ids=pair, survivor_id=pair[0]))
    assert plan.refusal.code == "refund_open"
    await service.ask(client, refund_completed(requested))
    await merge(service, client, *pair)


async def test_of_two_opposite_merges_one_wins(service: CustomersService) -> None:
    for _ in range(5):
        client = a_client()
        a, b = await service.create(client, last_name="A"), await service.create(client, last_name="B")
        results = await asyncio.gather(
            merge(service, client, a, b), merge(service, client, b, a), return_exceptions=True
        )
        refusals = [result for result in results if isinstance(result, Refused)]
        assert results.count(None) == 1
        assert [refusal.code for refusal in refusals] == ["merge_cycle"]


async def test_the_plan_proposes_a_survivor_and_shows_every_difference(service: CustomersService) -> None:
    client = a_client()
    older = await service.create(client, last_name="Byron", city="London")
    purchase = recorded()
    await service.ask(client, purchase)
    buyer = (await service.owner(client, purchase.reference_number)).customer_id

    plan = await service.ask(client, PreviewMerge(customer_ids=(older, buyer)))
    assert (plan.survivor.customer_id, plan.merged.customer_id) == (buyer, older)
    assert (plan.survivor.purchases, plan.merged.purchases) == (1, 0)
    assert plan.refusal.allowed
    billing = {d.field: (d.survivor, d.merged) for d in plan.differences if d.role is ContactRole.BILLING}
    assert billing == {"city": (None, "London"), "last_name": ("Lovelace", "Byron")}
    swapped = await service.ask(client, PreviewMerge(customer_ids=(older, buyer), survivor_id=older))
    assert swapped.survivor.customer_id == older


async def test_duplicates_are_suggested_within_a_client_until_they_are_merged(service: CustomersService) -> None:
    client = a_client()
    a = await service.create(client, last_name="Byron")
    b = await service.create(client, last_name="Lovelace")
    c = await service.create(client, last_name="King", email="k@example.com", postal_code="W1")
    d = await service.create(client, last_name="KING", email="king@example.com", postal_code="w1")
    await service.create(a_client(), last_name="Lovelace")

    rows, cursor = [], None
    while True:
        page = await service.ask(client, ListDuplicates(limit=1, cursor=cursor))
        rows += page.rows
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [(row.reason, row.customer_ids, row.customers) for row in rows] == [
        ("same_email", (a, b), 2),
        ("same_name_and_place", (c, d), 2),
    ]
    await merge(service, client, a, b)
    rest = await service.ask(client, ListDuplicates())
    assert [row.customer_ids for row in rest.rows] == [(c, d)]


@pytest.mark.parametrize(
    "pairs",
    [
        [(0, 1), (2, 0), (3, 4), (2, 3)],
        [(1, 0), (2, 1), (3, 2), (4, 3)],
        [(0, 1), (0, 2), (0, 3), (4, 0)],
    ],
)
@pytest.mark.parametrize("backwards", [True, False])
async def test_merging_and_undoing_in_any_order_restores_exactly(
    service: CustomersService, pairs: list[tuple[int, int]], backwards: bool
) -> None:
    client = a_client()
    purchases = [recorded(contact(last_name=f"Name{number}")) for number in range(5)]
    for purchase in purchases:
        await service.ask(client, purchase)
    ids = [(await service.owner(client, purchase.reference_number)).customer_id for purchase in purchases]
    before = [shown(await service.get(client, customer)) for customer in ids]

    done: list[UUID] = []
    for survivor, merged in pairs:
        await merge(service, client, ids[survivor], ids[merged])
        done.append(ids[merged])
    assert len({(await service.owner(client, p.reference_number)).customer_id for p in purchases}) == 5 - len(done)
    for merged_id in reversed(done) if backwards else done:
        await service.ask(client, UnmergeCustomer(customer_id=merged_id))

    assert [shown(await service.get(client, customer)) for customer in ids] == before
    for number, customer in enumerate(ids):
        assert await service.find(client, f"name{number}") == [customer]
