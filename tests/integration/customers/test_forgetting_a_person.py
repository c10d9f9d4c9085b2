"""A person with unmistakable data goes through the whole system; afterwards nobody can tell that there was one."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.contracts.customers import AnonymizeCustomer, CustomerView, GetCustomer
from shared.contracts.notifications import GetEmail, ListEmails, SendEmail
from shared.contracts.purchases import GetPurchase, RecordPurchase, RefundKind, RefundReason, RequestRefund
from shared.messaging import names
from tests.support.make import contact, order
from tests.support.peer import Answer, Peer
from tests.support.servers import TestServers
from tests.support.system import System, new_system
from tests.support.wait import stays_so, wait_until

CANARY = "Qjxvzkw"
MAIL_OF_CANARY = f"{CANARY.lower()}@{CANARY.lower()}.example.com"


def the_order() -> RecordPurchase:
    person = contact(
        last_name=CANARY,
        first_name=f"Pre{CANARY}",
        email=MAIL_OF_CANARY,
        street1=f"{CANARY} Street 1",
        city=f"{CANARY}ville",
        company=f"{CANARY} Ltd",
        phone="+49 555 777333",
    )
    return order(billing_contact=person, customer_reference=f"ref-{CANARY}", client_order_id=f"o-{uuid4().hex}")


async def contents(system: System) -> dict[str, str]:
    """Every row of every database as text, bytes among them as the text they are."""
    found = {}
    for service in system.databases:
        async with system.database(service) as connection:
            tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for (table,) in tables:
                rows = await connection.fetch(f'SELECT * FROM "{table}"')
                found[f"{service}.{table}"] = "\n".join(_text(value) for row in rows for value in row.values())
    return found


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def waiting(system: System) -> dict[str, str]:
    """What waits in the queues that are ours, headers and all; it is put back. `ext.*` belongs to other systems."""
    admin, found = system.servers.admin, {}
    names = [queue["name"] for queue in admin.get("queues", system.vhost)]
    for name in names:
        if not name.startswith(("ext.", "replies.")):
            wanted = {"count": 1000, "ackmode": "ack_requeue_true", "encoding": "auto"}
            messages = admin.post("queues", system.vhost, name, "get", body=wanted)
            found[f"queue {name}"] = json.dumps(messages, ensure_ascii=False)
    assert len(found) > len(system.databases)
    return found


async def leaks(system: System) -> list[str]:
    """Where the person is still to be found."""
    places = await contents(system) | await asyncio.to_thread(waiting, system)
    places |= {running.log.name: running.log.read_text(errors="replace") for running in system.processes}
    marks = (CANARY.lower(), "777333")
    return sorted(place for place, text in places.items() if any(mark in text.lower() for mark in marks))


async def settled(system: System) -> bool:
    """Nothing is on its way any more."""
    for service in system.databases:
        async with system.database(service) as connection:
            if await connection.fetchval("SELECT count(*) FROM outbox"):
                return False
    return True


async def buy(checkout: Peer, console: Peer) -> str:
    """A paid and refunded purchase; returns its reference number."""
    command = the_order()
    bought = await checkout.ask(command, headers=because(checkout))
    assert bought.code is None, bought.body
    number: str = bought.body["reference_number"]
    broken = json.loads(command.model_dump_json(exclude_none=True)) | {"currency": "???"}
    await checkout.send(RecordPurchase.key, json.dumps(broken).encode(), headers=because(checkout))
    refund = RequestRefund(
        reference_number=number, kind=RefundKind.TOTAL, reason=RefundReason.OTHER, remark=f"{CANARY} called"
    )
    answer = await console.ask(refund, headers=because(console))
    assert answer.code is None, answer.body
    return number


def because(peer: Peer) -> dict[str, str]:
    """Headers with a reason that names the person."""
    return {"client-id": peer.client, "actor": peer.actor, "reason": f"{CANARY} wants it"}


async def test_nobody_can_tell_that_there_was_a_person(system: System) -> None:
    async with system.peer() as checkout, system.peer("console", actor="user:carl") as console:
        number = await buy(checkout, console)

        async def profile() -> CustomerView | None:
            answer = await console.ask(GetCustomer(reference_number=number))
            return CustomerView.model_validate_json(answer.raw) if answer.code is None else None

        async def all_arrived() -> bool:
            view = await profile()
            if view is None or view.purchases[0].open_refunds or not view.purchases[0].refunded.amount:
                return False
            subjects = [announcement.subject for announcement in view.announcements]
            return subjects.count("email.sent") == 2 and "errorlog.failed_message" in await leaks(system)

        await wait_until(all_arrived, 60, what="the person is everywhere")
        assert {"purchases.purchase", "customers.contact", "notifications.email"} <= set(await leaks(system))
        await _the_reason_is_everywhere(system)
        view = await profile()
        assert view is not None

        answer = await console.ask(AnonymizeCustomer(customer_id=view.customer_id), headers=because(console))
        assert answer.code is None, answer.body

        async def gone() -> bool:
            return await settled(system) and not await leaks(system)

        try:
            await wait_until(gone, 30, what="the person is gone")
        except AssertionError:
            raise AssertionError(f"still there: {await leaks(system)}") from None
        await _nothing_comes_back(system, checkout, console, number)


@pytest.fixture
async def moved_time(servers: TestServers) -> AsyncIterator[System]:
    """A system in which the longest retry delay, an hour, is over in seconds."""
    queues = tuple(
        replace(queue, arguments=queue.arguments | {"x-message-ttl": 8000})
        if queue.name.startswith(names.RETRY)
        else queue
        for queue in servers.topology.queues
    )
    async with new_system(replace(servers, topology=replace(servers.topology, queues=queues))) as system:
        await system.start()
        yield system


async def test_what_waited_on_the_ladder_brings_nobody_back(moved_time: System) -> None:
    """A message about the person is on its way back for the longest delay while the person is forgotten."""
    system = moved_time
    async with system.peer() as checkout, system.peer("console", actor="user:carl") as console:
        async with system.database("notifications") as database:
            await database.execute("ALTER TABLE email RENAME TO email_away")
            recorded = await checkout.ask(the_order(), headers=because(checkout))
            assert recorded.code is None, recorded.body
            number = recorded.body["reference_number"]

            async def on_the_ladder() -> bool:
                places = await asyncio.to_thread(waiting, system)
                return any(CANARY in text for place, text in places.items() if names.RETRY in place)

            await wait_until(on_the_ladder, 30, what="the receipt's message waits on the ladder")
            await database.execute("ALTER TABLE email_away RENAME TO email")

        async def profile() -> CustomerView | None:
            answer = await console.ask(GetCustomer(reference_number=number))
            return CustomerView.model_validate_json(answer.raw) if answer.code is None else None

        view = await wait_until(profile, 30, what="the customer is known")
        assert view is not None
        answer = await console.ask(AnonymizeCustomer(customer_id=view.customer_id))
        assert answer.code is None, answer.body

        async def gone() -> bool:
            return await settled(system) and not await leaks(system)

        await wait_until(gone, 60, what="the message has come back, and brought nothing")
        await stays_so(gone, 3)
    assert system.mails.to(MAIL_OF_CANARY) == []


async def _the_reason_is_everywhere(system: System) -> None:
    """In the history of the purchase up to the mail about the refund, with the customer and with the mails."""
    reason = because(Peer("", actor="service:checkout"))["reason"]
    async with system.database("purchases") as purchases:
        subjects = await purchases.fetch("SELECT subject FROM history_entry WHERE facts->>'reason_given' = $1", reason)
    assert {row["subject"] for row in subjects} >= {
        "purchase.recorded",
        "refund.requested",
        "refund.completed",
        "email.sent",
    }
    async with system.database("customers") as customers:
        assert await customers.fetchval("SELECT count(*) FROM change WHERE facts->>'reason_given' = $1", reason) == 2
    async with system.database("notifications") as notifications:
        assert await notifications.fetchval("SELECT count(*) FROM email WHERE reason = $1", reason) == 2


async def _nothing_comes_back(system: System, checkout: Peer, console: Peer, number: str) -> None:
    """Late messages, and what people may still do with the purchase and its mails."""
    shown = await console.ask(GetPurchase(reference_number=number))
    assert shown.body["billing_contact"]["last_name"] == "XXX"
    assert shown.body["billing_contact"]["country"] == "DE"
    assert shown.body["refunded"]["amount"] > 0
    mails = (await console.ask(ListEmails(reference_number=number))).body["rows"]
    assert len(mails) == 2
    for mail in mails:
        view: Answer = await console.ask(GetEmail(email_id=UUID(mail["email_id"])))
        assert (view.body["text"], view.body["subject"]) == ("XXX", "XXX")
        refused = await console.ask(SendEmail(email_id=UUID(mail["email_id"])))
        assert refused.code == "email_anonymized"

    async with system.database("purchases") as connection:
        order_id = await connection.fetchval("SELECT client_order_id FROM purchase WHERE reference_number = $1", number)
    late = json.loads(the_order().model_dump_json(exclude_none=True)) | {"client_order_id": order_id, "currency": "?"}
    before = await _failed(system)
    await checkout.send(RecordPurchase.key, json.dumps(late).encode())

    async def arrived() -> bool:
        return await _failed(system) > before

    await wait_until(arrived, 30, what="the late message is in the error log")
    await asyncio.sleep(1)
    assert await leaks(system) == []


async def _failed(system: System) -> int:
    connection: asyncpg.Connection[asyncpg.Record]
    async with system.database("errorlog") as connection:
        return int(await connection.fetchval("SELECT count(*) FROM failed_message"))
