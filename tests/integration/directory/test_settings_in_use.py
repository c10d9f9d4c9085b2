"""What a client has set is what the other services do: refunds, mails, languages."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from shared.contracts.directory import (
    PLATFORM,
    AssignRoles,
    ClientSettings,
    ConfigureClient,
    RefundRights,
    SaveUser,
    Switches,
)
from shared.contracts.notifications import HoldEmail, ListEmails, QueueEmail
from shared.contracts.permissions import Role
from shared.contracts.purchases import Contact, GetPurchase, Payment
from tests.support.make import euros, order_number, purchase, refund
from tests.support.peer import Peer
from tests.support.system import System
from tests.support.wait import wait_until

OPERATOR = "user:ada"
FULL_PRICE = 7996


async def configured(system: System, **settings: Any) -> str:
    """A new client, whose settings have arrived in the services that use them."""
    client = f"shop-{uuid4().hex[:8]}"
    async with system.peer("console", client=client, actor=OPERATOR) as operator:
        answer = await operator.ask(ConfigureClient(settings=ClientSettings(**({"name": "Shop"} | settings))))
        assert answer.code is None, answer.body
    for service in ("purchases", "notifications"):
        async with system.database(service) as database:
            await wait_until(
                lambda database=database: database.fetchval(  # type: ignore[misc]
                    "SELECT true FROM client_copy WHERE client_id = $1", client
                ),
                what=f"{service} knows the client",
            )
    return client


async def staff(system: System, client: str, role: Role) -> str:
    name = f"user-{uuid4().hex[:8]}"
    async with system.peer("console", client=client, actor=OPERATOR) as operator:
        await operator.ask(SaveUser(name=name, display_name="Somebody", email=f"{name}@example.com"))
        assert (await operator.ask(AssignRoles(user=name, roles=(role,)))).code is None
    for service in ("purchases", "notifications"):
        async with system.database(service) as database:
            await wait_until(
                lambda database=database: database.fetchval(  # type: ignore[misc]
                    "SELECT true FROM staff_copy WHERE name = $1 AND version = 2", name
                ),
                what=f"{service} knows the user",
            )
    return f"user:{name}"


async def recorded(system: System, client: str, *, paid_days_ago: int = 0, **fields: Any) -> str:
    order = order_number()
    moment = datetime.now(UTC) - timedelta(days=paid_days_ago)
    payment = Payment(amount=euros(FULL_PRICE), paid_at=moment)
    async with system.peer("checkout", client=client) as checkout:
        answer = await checkout.ask(purchase(order, ordered_at=moment, payment=payment, **fields))
        assert answer.code is None, answer.body
    return order


async def action(peer: Peer, order: str, name: str) -> dict[str, Any]:
    view = (await peer.ask(GetPurchase(client_order_id=order))).body
    (found,) = (one for one in view["actions"] if one["name"] == name)
    return dict(found)


async def test_refunds_end_with_the_window(system: System) -> None:
    client = await configured(system, refund_window_days=14)
    old, new = [await recorded(system, client, paid_days_ago=days) for days in (15, 13)]
    agent = await staff(system, client, Role.SENIOR_SUPPORT)
    async with (
        system.peer("console", client=client, actor=agent) as console,
        system.peer("checkout", client=client) as checkout,
    ):
        shown = await action(console, old, "refund.request")
        assert (shown["allowed"], shown["code"]) == (False, "refund_window_over")
        answer = await console.ask(refund(old))
        assert (answer.code, answer.body["facts"]["refund_window_days"]) == ("refund_window_over", 14)
        assert (await checkout.ask(refund(old))).code == "refund_window_over"
        assert (await action(console, new, "refund.request"))["allowed"]
        assert (await console.ask(refund(new))).code is None


async def test_a_client_without_the_right_leaves_refunds_to_the_platform(system: System) -> None:
    client = await configured(system, refund_rights=RefundRights.PLATFORM, refund_window_days=0)
    order = await recorded(system, client)
    agent = await staff(system, client, Role.SENIOR_SUPPORT)
    platform = await staff(system, PLATFORM, Role.PLATFORM_AGENT)
    async with system.peer("console", client=client, actor=agent) as console:
        assert (await action(console, order, "refund.request"))["code"] == "refund_by_platform_only"
        assert (await console.ask(refund(order))).code == "refund_by_platform_only"
    async with system.peer("console", client=client, actor=platform) as console:
        assert (await action(console, order, "refund.request"))["allowed"]
        assert (await console.ask(refund(order))).code is None


async def test_mails_go_out_under_the_clients_name_and_in_its_languages(system: System) -> None:
    client = await configured(
        system, sender_name="Shop & Söhne", sender_address="hello@shop.example", languages=("de",)
    )
    to = f"{uuid4().hex[:8]}@example.com"
    contact = Contact(first_name="Jane", last_name="Doe", country="DE", language="en", email=to)
    await recorded(system, client, billing_contact=contact)
    (mail,) = await wait_until(lambda: system.mails.to(to), what="the receipt")
    assert str(mail["From"]) in ("Shop & Söhne <hello@shop.example>", '"Shop & Söhne" <hello@shop.example>')
    assert mail["Content-Language"] in (None, "de")
    assert "Zahlung" in str(mail["Subject"]) + str(mail.get_body(("plain",)))


async def test_what_is_switched_off_is_not_mailed(system: System) -> None:
    client = await configured(system, switches=Switches(receipts=False))
    order = await recorded(system, client)
    async with system.peer("checkout", client=client) as checkout:
        reference = (await checkout.ask(refund(order))).body["reference_number"]
    async with system.peer("console", client=client, actor=OPERATOR) as console:

        async def mails() -> list[str]:
            rows = (await console.ask(ListEmails(reference_number=reference))).body["rows"]
            return [row["email_type"] for row in rows]

        assert await wait_until(mails, what="the confirmation of the refund") == ["REF_CU"]


async def test_the_undo_window_is_the_clients(system: System) -> None:
    client = await configured(system, undo_window_minutes=12)
    to = f"{uuid4().hex[:8]}@example.com"
    contact = Contact(first_name="Jane", last_name="Doe", country="DE", language="en", email=to)
    await recorded(system, client, billing_contact=contact)
    await wait_until(lambda: system.mails.to(to), what="the receipt")
    async with system.database("notifications") as database, system.peer("console", client=client) as console:
        console.actor = OPERATOR
        email_id: UUID = await database.fetchval("SELECT id FROM email WHERE recipient = $1", to)

        async def queued() -> bool:
            return (await console.ask(QueueEmail(email_id=email_id))).code is None

        await wait_until(queued, what="the mail is sent and can be queued again")
        wait = await database.fetchval("SELECT due_at - changed_at FROM email WHERE id = $1", email_id)
        assert wait == timedelta(minutes=12)
        assert (await console.ask(HoldEmail(email_id=email_id))).code is None
