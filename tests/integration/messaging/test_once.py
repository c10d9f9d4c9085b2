"""Handled once, answered the same each time, and never for somebody else."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from shared.contracts.purchases import GetPurchase, RecordPayment, RefundKind, RefundLine
from tests.support.make import UNIT_PRICE, euros, order_number, purchase, refund
from tests.support.peer import Answer
from tests.support.servers import TestServers
from tests.support.system import System, new_system


@pytest.fixture(scope="module", params=["50", "1"], ids=["group commit", "transaction per message"])
async def two_instances(request: pytest.FixtureRequest, servers: TestServers) -> AsyncIterator[System]:
    """Two processes of purchases on one database, with either way of committing."""
    async with new_system(servers) as system:
        for _ in range(2):
            await system.start_one("purchases", env={"PURCHASES_BATCH": request.param})
        yield system


async def test_the_same_command_ten_times_at_once_has_one_effect_and_one_reply(two_instances: System) -> None:
    async with two_instances.peer() as checkout:
        for message in (purchase(order := order_number()), refund(order)):
            identity = uuid4()
            correlations = [str(uuid4()) for _ in range(10)]
            answers = await asyncio.gather(
                *(checkout.ask(message, message_id=identity, correlation_id=flow) for flow in correlations)
            )
            assert len({answer.raw for answer in answers}) == 1
            assert answers[0].code is None
    async with two_instances.database("purchases") as database:
        row = await database.fetchrow(
            "SELECT count(*) AS purchases, sum(refunded) AS refunded FROM purchase WHERE client_order_id = $1", order
        )
        refunds = await database.fetchval(
            "SELECT count(*) FROM refund JOIN purchase ON purchase.id = purchase_id WHERE client_order_id = $1", order
        )
    assert row is not None
    assert (row["purchases"], row["refunded"], refunds) == (1, 4 * UNIT_PRICE, 1)


async def test_a_refusal_is_repeated_too_and_a_new_wish_needs_a_new_id(two_instances: System) -> None:
    async with two_instances.peer() as checkout:
        order = order_number()
        unpaid = purchase(order, payment=None)
        await checkout.ask(unpaid)
        identity = uuid4()
        first = await checkout.ask(refund(order), message_id=identity)
        assert first.code is not None
        paid = purchase().payment
        assert paid is not None
        booked = await checkout.ask(RecordPayment(client_order_id=order, payment=paid))
        assert booked.code is None, booked
        again = await checkout.ask(refund(order), message_id=identity, correlation_id=str(uuid4()))
        assert again.raw == first.raw
        assert (await checkout.ask(refund(order))).code is None


@pytest.mark.parametrize("together", [False, True], ids=["later", "at the same moment"])
async def test_the_same_id_with_another_body_is_refused_and_shows_nothing(
    two_instances: System, together: bool
) -> None:
    async with two_instances.peer() as checkout:
        identity, order, other = uuid4(), order_number(), order_number()

        async def record(number: str) -> Answer:
            return await checkout.ask(purchase(number), message_id=identity, correlation_id=number)

        if together:
            answers = list(await asyncio.gather(record(order), record(other)))
        else:
            answers = [await record(order), await record(other)]
        refused = [answer for answer in answers if answer.code is not None]
        assert [answer.code for answer in refused] == ["same_id_different_body"]
        assert set(refused[0].body) <= {"type", "title", "detail", "code", "facts", "errors"}
        assert not refused[0].body.get("facts")
        assert order.encode() not in refused[0].raw
        assert other.encode() not in refused[0].raw


async def test_the_same_id_from_another_client_is_refused_and_shows_nothing(two_instances: System) -> None:
    async with two_instances.peer() as checkout:
        identity, order = uuid4(), order_number()
        assert (await checkout.ask(purchase(order), message_id=identity)).code is None
        checkout.client = "other-shop"
        answer = await checkout.ask(purchase(order), message_id=identity, correlation_id=str(uuid4()))
        assert answer.code == "same_id_different_body"
        assert (await checkout.ask(GetPurchase(client_order_id=order))).code == "purchase_not_found"


async def test_two_agents_never_refund_more_than_was_paid(two_instances: System) -> None:
    async with two_instances.peer() as one, two_instances.peer() as two:
        order = order_number()
        recorded = await one.ask(purchase(order))
        number = recorded.body["reference_number"]
        line = RefundLine(running_number=1, amount=euros(UNIT_PRICE))
        wishes = [refund(order, kind=RefundKind.AMOUNT, lines=(line,)) for _ in range(4)]
        wishes += [
            refund(order).model_copy(update={"reference_number": number, "client_order_id": None}) for _ in range(4)
        ]
        answers = await asyncio.gather(*(agent.ask(wish) for wish, agent in zip(wishes, [one, two] * 4, strict=True)))
        view = (await one.ask(GetPurchase(client_order_id=order))).body
    accepted = sum(answer.body["amount"]["amount"] for answer in answers if answer.code is None)
    assert accepted == view["refunded"]["amount"]
    assert accepted <= view["paid"]["amount"] == 4 * UNIT_PRICE
    assert {answer.code for answer in answers} - {None} <= {
        "exceeds_refundable_amount",
        "nothing_left_to_refund",
        "status_forbids_refund",
    }


async def test_two_instances_on_ten_hot_purchases_do_not_deadlock(two_instances: System) -> None:
    async with two_instances.peer() as checkout:
        orders = [order_number() for _ in range(10)]
        numbers = {}
        for order in orders:
            numbers[order] = (await checkout.ask(purchase(order, items=20))).body["reference_number"]
        line = RefundLine(running_number=1, amount=euros(1))
        wishes = []
        for round_ in range(10):
            for order in orders if round_ % 2 else reversed(orders):
                wish = refund(order, kind=RefundKind.AMOUNT, lines=(line,))
                if round_ % 3 == 0:
                    wish = wish.model_copy(update={"reference_number": numbers[order], "client_order_id": None})
                wishes.append(wish)
        answers = await asyncio.gather(*(checkout.ask(wish, timeout=60) for wish in wishes))
        assert {answer.code for answer in answers} == {None}
    async with two_instances.database("purchases") as database:
        refunded = await database.fetch("SELECT refunded FROM purchase WHERE client_order_id = ANY($1)", orders)
        deadlocks = await database.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert [row["refunded"] for row in refunded] == [10] * 10
    assert deadlocks == 0
