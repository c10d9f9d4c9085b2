"""Logo, footer, Cc and Bcc of a client: in the stored mail, in the preview, and in what the SMTP server gets."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from services.notifications.email.anonymize import anonymize_emails
from services.notifications.email.compose import compose_receipt, compose_refund_confirmation
from services.notifications.email.sender import sender_of
from services.notifications.email.view import get_email
from services.notifications.models import client_copy
from services.notifications.settings import sender_settings
from services.notifications.smtp.transport import SmtpServer as Server
from services.notifications.smtp.transport import SmtpTransport
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.directory import ClientChanged, ClientSettings
from shared.contracts.notifications import EmailView, GetEmail
from shared.contracts.personal import REMOVED_EMAIL
from shared.ids import new_id
from shared.staff.copies import save_client
from tests.integration.notifications.harness import Notifications, context
from tests.integration.notifications.smtp_server import SmtpServer
from tests.integration.notifications.test_transport import mail
from tests.unit.notifications.samples import contact, payment_recorded, refund_completed

LOGO = "https://cdn.example.com/logo.png?a=1&b=2"
FOOTER = "Northwind <GmbH>\nMain Street 1, Bonn {{ 7*7 }}"
CC = ("books@shop.example.com", "müller@bücher.example")
BCC = ("archive@shop.example.com", "ok@example.com", "books@shop.example.com")


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NOTIFICATIONS_SENDER_ADDRESS", "service@example.com")
    sender_settings.cache_clear()
    yield
    sender_settings.cache_clear()


async def composed(service: Notifications, language: str, refund: bool = False, **settings: Any) -> UUID:
    """A mail of a client with these settings."""
    client = f"shop-{new_id().hex[:12]}"
    by = context(client_id=client)
    event = ClientChanged(
        client_id=client, version=1, settings=ClientSettings(name="Northwind", languages=("en", "de"), **settings)
    )
    buyer = contact(email="ok@example.com", language=language)
    async with service.work(by) as work:
        await save_client(work, client_copy, event)
    async with service.work(by) as work:
        sender = await sender_of(work)
        if refund:
            made = await compose_refund_confirmation(work, refund_completed(billing_contact=buyer), sender)
        else:
            made = await compose_receipt(work, payment_recorded(billing_contact=buyer), sender)
    assert made is not None
    return made


async def preview(service: Notifications, email_id: UUID) -> EmailView:
    async with service.work(context(client_id="*")) as work:
        return await get_email(work, GetEmail(email_id=email_id))


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("refund", [False, True])
async def test_what_a_client_has_set_arrives_as_the_preview_shows_it(
    service: Notifications, smtp: SmtpServer, language: str, refund: bool
) -> None:
    email_id = await composed(service, language, refund, logo_url=LOGO, footer=FOOTER, cc=CC, bcc=BCC)
    view = await preview(service, email_id)
    assert (view.cc, view.bcc) == (CC, ("archive@shop.example.com",))
    assert view.language == language
    assert await service.dispatch() == 1
    [received] = smtp.received
    message = received.message
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().replace("\r\n", "\n") == view.text
    assert html.get_content().replace("\r\n", "\n") == view.html
    assert view.text.endswith(f"\n\n{FOOTER}\n")
    assert 'src="https://cdn.example.com/logo.png?a=1&amp;b=2" alt="Northwind"' in view.html
    assert "Northwind &lt;GmbH&gt;<br>Main Street 1, Bonn {{ 7*7 }}</td>" in view.html
    assert received.recipient == "ok@example.com"
    assert len(received.copies) == 3
    assert received.copies[0::2] == ("books@shop.example.com", "archive@shop.example.com")
    assert message["Cc"].addresses[0].addr_spec == "books@shop.example.com"
    assert message["Bcc"] is None
    assert b"archive@" not in received.content


async def test_without_settings_nothing_is_added(service: Notifications, smtp: SmtpServer) -> None:
    view = await preview(service, await composed(service, "en"))
    assert (view.cc, view.bcc) == ((), ())
    assert "<img" not in view.html
    await service.dispatch()
    assert (smtp.received[0].message["Cc"], smtp.received[0].copies) == (None, ())


async def test_a_mail_stays_as_it_was_made(service: Notifications) -> None:
    email_id = await composed(service, "en", footer="old", cc=CC)
    email = await service.email(email_id)
    settings = ClientSettings(name="Northwind", footer="new", cc=("new@example.com",))
    async with service.work(context(client_id=email.client_id)) as work:
        await save_client(work, client_copy, ClientChanged(client_id=email.client_id, version=2, settings=settings))
    view = await preview(service, email_id)
    assert (view.text.endswith("\n\nold\n"), view.cc) == (True, CC)


async def test_a_copy_that_is_refused_does_not_keep_the_mail_from_the_customer(
    service: Notifications, smtp: SmtpServer
) -> None:
    email_id = await composed(service, "en", cc=("unknown@example.com", "books@shop.example.com"))
    await service.dispatch()
    assert (await service.email(email_id)).state == "sent"
    assert smtp.received[0].copies == ("books@shop.example.com",)


async def test_a_copy_that_the_server_cannot_write_does_not_keep_the_mail_from_the_customer(
    service: Notifications, smtp: SmtpServer
) -> None:
    smtp.international = False
    email_id = await composed(service, "en", cc=CC)
    await service.dispatch()
    assert (await service.email(email_id)).state == "sent"
    assert smtp.received[0].copies == ("books@shop.example.com",)
    assert [address.addr_spec for address in smtp.received[0].message["Cc"].addresses] == ["books@shop.example.com"]


async def test_a_server_without_copies_is_asked_for_the_recipient_only(smtp: SmtpServer) -> None:
    transport = SmtpTransport(Server.from_url(f"smtp://127.0.0.1:{smtp.port}"), connections=1, timeout=2)
    await transport.deliver(mail())
    await transport.close()
    assert dict(smtp.seen) == {"ok@example.com": 1}


async def test_anonymizing_keeps_the_addresses_of_the_client(service: Notifications) -> None:
    email_id = await composed(service, "en", cc=CC, bcc=BCC)
    email = await service.email(email_id)
    event = CustomerAnonymized(customer_id=new_id(), version=2, reference_numbers=(email.reference_number,))
    async with service.work(context(client_id=email.client_id)) as work:
        await anonymize_emails(work, event)
    view = await preview(service, email_id)
    assert (view.to, view.text, view.cc) == (REMOVED_EMAIL, "XXX", CC)
