"""Lists and single mails."""

from uuid import UUID

import pytest

from services.notifications.email import view
from services.notifications.rendering import render
from shared.contracts.notifications import EmailPage, EmailState, EmailView, GetEmail, ListEmails
from shared.contracts.refusals import Refused
from tests.integration.notifications.harness import Notifications, context
from tests.integration.notifications.smtp_server import SmtpServer


async def listed(service: Notifications, query: ListEmails, client: str = "demo-shop") -> EmailPage:
    async with service.work(context(client_id=client)) as work:
        return await view.list_emails(work, query)


async def read(service: Notifications, email_id: UUID, client: str = "demo-shop") -> EmailView:
    async with service.work(context(client_id=client)) as work:
        return await view.get_email(work, GetEmail(email_id=email_id))


async def test_the_mails_of_a_purchase_come_newest_first_page_by_page(service: Notifications) -> None:
    made = [await service.receipt() for _ in range(5)]
    await service.receipt(reference_number="987654321")
    seen: list[UUID] = []
    cursor = None
    for expected in (2, 2, 1):
        page = await listed(service, ListEmails(reference_number="123456789", limit=2, cursor=cursor))
        assert len(page.rows) == expected
        seen += [row.email_id for row in page.rows]
        cursor = page.next_cursor
    assert cursor is None
    assert seen == made[::-1]


async def test_mails_are_listed_by_state(service: Notifications) -> None:
    held, _ = await service.receipt(), await service.receipt()
    await service.put_into(held, EmailState.HOLD)
    page = await listed(service, ListEmails(state=EmailState.HOLD))
    assert [row.email_id for row in page.rows] == [held]


async def test_a_client_sees_its_own_mails_and_an_operator_all(service: Notifications) -> None:
    ours = await service.receipt()
    theirs = await service.receipt(by=context(client_id="other-shop"))
    query = ListEmails(state=EmailState.QUEUED)
    assert [row.email_id for row in (await listed(service, query)).rows] == [ours]
    assert [row.email_id for row in (await listed(service, query, client="*")).rows] == [theirs, ours]
    with pytest.raises(Refused) as refused:
        await read(service, theirs)
    assert refused.value.code == "email_not_found"
    assert (await read(service, theirs, client="*")).email_id == theirs


@pytest.mark.parametrize("cursor", ["x", "AAAA", "_" * 512, "A" * 23])
async def test_a_cursor_that_is_none_of_ours_is_refused(service: Notifications, cursor: str) -> None:
    with pytest.raises(Refused) as refused:
        await listed(service, ListEmails(state=EmailState.QUEUED, cursor=cursor))
    assert refused.value.code == "cursor_invalid"


async def test_the_mail_that_is_shown_is_the_mail_that_is_sent_whatever_becomes_of_the_templates(
    service: Notifications, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    email_id = await service.receipt()
    before = await read(service, email_id)
    changed = dict.fromkeys(render.load_texts("en"), "changed")
    monkeypatch.setattr(render, "load_texts", lambda _: changed)
    await service.dispatch()
    [received] = smtp.received
    parts = {kind: received.message.get_body((kind,)) for kind in ("plain", "html")}
    shown = {"plain": before.text, "html": before.html}
    for kind, part in parts.items():
        assert part is not None
        assert part.get_content().replace("\r\n", "\n") == shown[kind]
    assert received.message["Subject"] == before.subject
    assert received.message["From"] == before.sender == "Northwind Software <service@example.com>"
    assert received.message_id == before.message_id_header
    after = await read(service, email_id)
    assert (after.text, after.html, after.subject) == (before.text, before.html, before.subject)
    assert (after.state, [one.outcome for one in after.attempts]) == (EmailState.SENT, ["accepted"])
    assert after.attempts[0].detail == "250 2.0.0 taken"
