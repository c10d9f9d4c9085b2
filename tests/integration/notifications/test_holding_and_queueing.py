"""Hold, Queue and Send: what people may do with a mail, and what comes of it."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from uuid import UUID

import pytest

from services.notifications.email import change, view
from services.notifications.email.anonymize import anonymize_emails
from services.notifications.email.rules import Action
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.notifications import EmailChanged, EmailState, GetEmail, HoldEmail, QueueEmail, SendEmail
from shared.contracts.refusals import Refused
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork
from tests.integration.notifications.harness import Notifications, context
from tests.integration.notifications.smtp_server import SmtpServer

FOLLOWING = {Action.HOLD: EmailState.HOLD, Action.QUEUE: EmailState.QUEUED, Action.SEND: EmailState.QUEUED}
EVENTS = {
    Action.HOLD: "notifications.email.held.v1",
    Action.QUEUE: "notifications.email.queued.v1",
    Action.SEND: "notifications.email.queued.v1",
}


def use_case(work: UnitOfWork, action: Action, email_id: UUID, version: int | None) -> Awaitable[EmailChanged]:
    match action:
        case Action.HOLD:
            return change.hold_email(work, HoldEmail(email_id=email_id, expected_version=version))
        case Action.QUEUE:
            return change.queue_email(work, QueueEmail(email_id=email_id, expected_version=version))
        case Action.SEND:
            return change.send_email(work, SendEmail(email_id=email_id, expected_version=version))


async def do(
    service: Notifications,
    action: Action,
    email_id: UUID,
    *,
    version: int | None = None,
    by: MessageContext | None = None,
) -> EmailChanged:
    async with service.work(by or context()) as work:
        return await use_case(work, action, email_id, version)


@pytest.mark.parametrize("state", EmailState)
@pytest.mark.parametrize("action", Action)
async def test_what_is_shown_as_allowed_is_accepted_and_nothing_else(
    service: Notifications, action: Action, state: EmailState
) -> None:
    email_id = await service.receipt()
    await service.put_into(email_id, state)
    async with service.work(context()) as work:
        seen = await view.get_email(work, GetEmail(email_id=email_id))
    shown = next(one for one in seen.actions if one.name == action)
    if shown.allowed:
        changed = await do(service, action, email_id, by=context(actor="user:bob"))
        assert (changed.state, changed.version) == (FOLLOWING[action], 2)
        email = await service.email(email_id)
        assert (email.state, email.changed_by, email.actor) == (FOLLOWING[action], "user:bob", "user:bob")
        assert [event.key for event in await service.published()][1:] == [EVENTS[action]]
    else:
        with pytest.raises(Refused) as refused:
            await do(service, action, email_id)
        assert refused.value.code == shown.code
        assert (refused.value.detail, refused.value.facts) == (shown.why_not, {"state": state, "version": 1})
        assert (await service.email(email_id)).version == 1
        assert len(await service.published()) == 1


async def test_a_held_mail_does_not_go_out_until_it_is_queued(service: Notifications, smtp: SmtpServer) -> None:
    email_id = await service.receipt()
    await do(service, Action.HOLD, email_id)
    await service.make_due(email_id)
    assert await service.dispatch() == 0
    assert smtp.received == []
    await do(service, Action.SEND, email_id)
    assert await service.dispatch() == 1
    assert len(smtp.received) == 1


async def test_a_mail_queued_by_a_person_waits_for_the_undo_window(service: Notifications, smtp: SmtpServer) -> None:
    email_id = await service.receipt()
    await do(service, Action.HOLD, email_id)
    service.woken.clear()
    await do(service, Action.QUEUE, email_id)
    email = await service.email(email_id)
    assert email.due_at - email.changed_at == timedelta(minutes=5)
    assert service.woken == set()
    assert await service.dispatch() == 0
    assert smtp.received == []
    await do(service, Action.SEND, email_id)
    assert service.woken == {"dispatch"}
    await service.dispatch()
    assert len(smtp.received) == 1


async def test_a_resent_mail_is_the_same_mail_with_one_more_attempt(service: Notifications, smtp: SmtpServer) -> None:
    email_id = await service.receipt()
    await service.dispatch()
    by = context(actor="user:bob")
    await do(service, Action.SEND, email_id, by=by)
    await service.dispatch()
    first, second = smtp.received
    assert first.message_id == second.message_id
    assert await service.outcomes(email_id) == ["accepted", "accepted"]
    sent = [event for event in await service.published() if event.key == "notifications.email.sent.v1"]
    assert [event.body["attempt"] for event in sent] == [1, 2]
    assert (sent[1].headers["actor"], sent[1].headers["causation-id"]) == ("user:bob", str(by.message_id))
    assert sent[1].correlation_id == by.correlation_id


async def test_an_outdated_view_is_refused_and_says_who_changed_the_mail(service: Notifications) -> None:
    email_id = await service.receipt()
    await do(service, Action.HOLD, email_id, version=1, by=context(actor="user:bob"))
    with pytest.raises(Refused) as refused:
        await do(service, Action.SEND, email_id, version=1)
    assert refused.value.code == "version_conflict"
    assert (refused.value.facts["expected_version"], refused.value.facts["version"]) == (1, 2)
    assert refused.value.facts["state"] == "hold"
    assert refused.value.facts["changed_by"] == "user:bob"
    assert refused.value.facts["changed_at"] == (await service.email(email_id)).changed_at.isoformat()
    assert (await service.email(email_id)).state == "hold"


async def test_two_people_hold_a_mail_at_one_moment(service: Notifications) -> None:
    email_id = await service.receipt()
    wishes = (do(service, Action.HOLD, email_id, version=1) for _ in range(2))
    answers = await asyncio.gather(*wishes, return_exceptions=True)
    assert sorted(one.code if isinstance(one, Refused) else "held" for one in answers) == ["held", "version_conflict"]
    assert (await service.email(email_id)).version == 2


@pytest.mark.parametrize("action", Action)
async def test_a_mail_of_another_client_does_not_exist(service: Notifications, action: Action) -> None:
    email_id = await service.receipt()
    with pytest.raises(Refused) as refused:
        await do(service, action, email_id, by=context(client_id="other-shop"))
    assert refused.value.code == "email_not_found"
    assert (await service.email(email_id)).version == 1


async def test_who_held_queued_and_sent_a_mail_is_shown_with_the_reason(service: Notifications) -> None:
    email_id = await service.receipt()
    await do(service, Action.HOLD, email_id, by=context(actor="user:bob", reason="wrong amount"))
    await do(service, Action.QUEUE, email_id, by=context(actor="user:ann"))
    await do(service, Action.SEND, email_id, by=context(actor="service:crm", reason="the customer waits"))
    await service.dispatch()
    async with service.work(context()) as work:
        seen = await view.get_email(work, GetEmail(email_id=email_id))
    assert [(one.version, one.action, one.actor, one.reason) for one in seen.changes] == [
        (2, "hold", "user:bob", "wrong amount"),
        (3, "queue", "user:ann", None),
        (4, "send", "service:crm", "the customer waits"),
    ]
    told = {event.key: event.headers.get("reason") for event in await service.published()}
    assert told["notifications.email.held.v1"] == "wrong amount"
    assert told["notifications.email.sent.v1"] == "the customer waits"


async def test_anonymizing_removes_the_reasons(service: Notifications) -> None:
    email_id = await service.receipt(by=context(reason="Lovelace bought"))
    await do(service, Action.HOLD, email_id, by=context(reason="Lovelace called"))
    email = await service.email(email_id)
    event = CustomerAnonymized(customer_id=new_id(), version=2, reference_numbers=(email.reference_number,))
    async with service.work(context()) as work:
        await anonymize_emails(work, event)
    async with service.work(context()) as work:
        seen = await view.get_email(work, GetEmail(email_id=email_id))
    assert [one.reason for one in seen.changes] == ["XXX"]
    assert (await service.email(email_id)).reason is None
    assert [event.headers.get("reason") for event in await service.published()] == [None, None, None]
