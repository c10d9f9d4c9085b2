"""From an event to one stored mail."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from services.notifications import handlers, settings
from services.notifications.email import sender
from services.notifications.email.compose import compose_receipt, compose_refund_confirmation
from services.notifications.models import Email
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from tests.integration.notifications.harness import SENDER, SHOP, TRACE, Notifications, context
from tests.support.statements import noted_statements
from tests.unit.notifications.samples import contact, payment_recorded, refund_completed


async def all_emails(service: Notifications) -> list[Email]:
    async with service.sessions() as session:
        return list(await session.scalars(select(Email).order_by(Email.id)))


async def test_a_completed_payment_makes_one_queued_receipt(service: Notifications) -> None:
    by = context(actor="service:checkout")
    async with service.work(by) as work:
        await compose_receipt(work, payment_recorded(), SENDER)
    [email] = await all_emails(service)
    assert (email.state, email.email_type, email.client_id) == ("queued", "REC_CU", SHOP)
    assert (email.recipient, email.language) == ("jane.doe@example.com", "en")
    assert (email.sender_name, email.sender_address) == ("Northwind Software", "service@example.com")
    assert email.subject == "Your receipt for purchase 123456789"
    assert "€1,239.99" in email.text
    assert "€1,239.99" in email.html
    assert email.message_id_header.endswith("@mail.example.com>")
    assert (email.created_by, email.changed_by, email.version) == ("service:checkout", "service:checkout", 1)
    assert email.due_at <= email.created_at
    assert service.woken == {"dispatch"}


async def test_what_is_published_carries_the_flow_on(service: Notifications) -> None:
    by = context(actor="service:checkout")
    async with service.work(by) as work:
        email_id = await compose_refund_confirmation(work, refund_completed(), SENDER)
    [event] = await service.published()
    assert event.key == "notifications.email.queued.v1"
    assert event.body == {
        "email_id": str(email_id),
        "reference_number": "123456789",
        "email_type": "REF_CU",
        "subject": "Your refund for purchase 123456789",
    }
    assert event.correlation_id == by.correlation_id
    assert event.order_key == str(email_id)
    expected = {
        "client-id": SHOP,
        "actor": "service:checkout",
        "causation-id": str(by.message_id),
        "traceparent": TRACE,
        "cloudEvents_subject": "123456789",
    }
    assert expected.items() <= event.headers.items()


async def test_the_same_event_twice_makes_one_mail(service: Notifications) -> None:
    by = context()
    assert await service.receipt(by=by) == await service.receipt(by=by)
    assert len(await all_emails(service)) == 1
    assert len(await service.published()) == 1


async def test_a_mail_is_made_with_few_statements(service: Notifications, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock and mail for each; settings and events once for all mails of a transaction."""
    monkeypatch.setenv("NOTIFICATIONS_SENDER_ADDRESS", "hello@shop.example")
    settings.sender_settings.cache_clear()
    with noted_statements(service.sessions) as statements:
        async with service.work(context()) as work:
            for number in range(3):
                one = replace(work, context=context())
                event = payment_recorded(reference_number=f"12345678{number}")
                await compose_receipt(one, event, await sender.sender_of(one))
    settings.sender_settings.cache_clear()
    assert len(statements) <= 2 + 2 * 3, statements


async def test_two_events_make_two_mails_with_their_own_identities(service: Notifications) -> None:
    first, second = await service.receipt(), await service.receipt()
    assert first != second
    assert len({email.message_id_header for email in await all_emails(service)}) == 2


async def test_a_part_payment_and_an_unwanted_notice_make_no_mail(service: Notifications) -> None:
    async with service.work(context()) as work:
        assert await compose_receipt(work, payment_recorded(paid_in_full=False), SENDER) is None
        assert await compose_refund_confirmation(work, refund_completed(notify_customer=False), SENDER) is None
    assert await all_emails(service) == []
    assert await service.published() == []


async def test_the_handlers_send_under_the_name_of_the_settings(
    service: Notifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFICATIONS_SENDER_ADDRESS", "hello@shop.example")
    monkeypatch.setenv("NOTIFICATIONS_SENDER_NAME", "The shop")
    settings.sender_settings.cache_clear()
    try:
        for event, handler in (
            (payment_recorded(), handlers.on_payment_recorded),
            (refund_completed(), handlers.on_refund_completed),
        ):
            async with service.work(context()) as work:
                await handler(event, work)  # type: ignore[arg-type]  # each event goes to its own handler
    finally:
        settings.sender_settings.cache_clear()
    receipt, confirmation = await all_emails(service)
    assert (receipt.email_type, confirmation.email_type) == ("REC_CU", "REF_CU")
    assert (receipt.sender_name, receipt.sender_address) == ("The shop", "hello@shop.example")
    assert confirmation.message_id_header.endswith("@shop.example>")


def test_the_message_id_is_the_same_whenever_it_is_made() -> None:
    event = new_id()
    assert SENDER.message_id(event, "REC_CU") == SENDER.message_id(event, "REC_CU")
    assert SENDER.message_id(event, "REC_CU") != SENDER.message_id(event, "REF_CU")
    assert sender.Sender("", "", "example.com").message_id(event, "REC_CU").startswith("<")


async def test_a_mail_belongs_to_the_client_of_its_event(service: Notifications) -> None:
    other = MessageContext("other-shop", "service:checkout", new_id(), "flow")
    email_id = await service.receipt(by=other, reference_number="987654321")
    assert (await service.email(email_id)).client_id == "other-shop"


async def test_a_german_customer_gets_german(service: Notifications) -> None:
    async with service.work(context()) as work:
        event = refund_completed(billing_contact=contact(language="de", country="DE"))
        await compose_refund_confirmation(work, event, SENDER)
    [email] = await all_emails(service)
    assert (email.language, email.subject) == ("de", "Ihre Erstattung zum Kauf 123456789")
