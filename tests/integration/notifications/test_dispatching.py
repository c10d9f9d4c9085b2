"""The dispatcher between a real database and a real SMTP server: every mail leaves once, or says why it does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest
import structlog.testing
from pydantic import SecretStr
from sqlalchemy import func

from services.notifications.dispatch.job import dispatch_job
from services.notifications.dispatch.rules import Answer, Outcome
from services.notifications.dispatch.settle import settle
from services.notifications.dispatch.store import Taken
from services.notifications.dispatch.take import take_due
from services.notifications.models import TO_DISPATCH
from shared.contracts.notifications import EmailState
from shared.errors import Unavailable
from shared.ids import new_id
from shared.messaging.leased_job import Settled
from shared.messaging.message_context import MessageContext
from shared.messaging.unit_of_work import UnitOfWork
from tests.integration.notifications.harness import Notifications, context
from tests.integration.notifications.smtp_server import SmtpServer
from tests.support.statements import noted_statements

ERROR = "notifications.error.raised.v1"
IN_HAND = 8
"""Mails that the dispatcher of these tests takes at once: four are talked about, four are at hand."""


async def keys(service: Notifications) -> list[str]:
    """What was published after the mail had been queued."""
    return [event.key for event in await service.published() if event.key != "notifications.email.queued.v1"]


async def test_a_due_mail_is_sent_once_and_said_to_be(service: Notifications, smtp: SmtpServer) -> None:
    by = context()
    email_id = await service.receipt(by=by)
    assert await service.dispatch() == 1
    assert await service.dispatch() == 0
    [received] = smtp.received
    email = await service.email(email_id)
    assert (email.state, email.attempts, email.lease_token) == ("sent", 1, None)
    assert (received.recipient, received.message_id) == ("ok@example.com", email.message_id_header)
    [attempt] = await service.attempts(email_id)
    assert (attempt.outcome, attempt.smtp_code) == ("accepted", 250)
    event = (await service.published())[-1]
    assert event.key == "notifications.email.sent.v1"
    assert (event.body["email_id"], event.body["attempt"]) == (str(email_id), 1)
    assert (event.correlation_id, event.headers["actor"]) == (by.correlation_id, by.actor)
    assert event.headers["causation-id"] == str(by.message_id)


@pytest.mark.parametrize(("local_part", "code"), [("unknown", 550), ("spam", 554)])
async def test_a_mail_refused_for_good_bounces_and_is_not_tried_again(
    service: Notifications, smtp: SmtpServer, local_part: str, code: int
) -> None:
    email_id = await service.receipt(local_part)
    await service.dispatch()
    email = await service.email(email_id)
    assert email.state == "bounced"
    assert email.bounce_reason is not None
    assert email.bounce_reason.startswith(str(code))
    assert "@" not in email.bounce_reason
    assert await keys(service) == ["notifications.email.bounced.v1", ERROR]
    error = (await service.published())[-1].body
    assert (error["error_type"], error["reference_number"]) == ("email_bounce", "123456789")
    assert error["fingerprint"] == f"email_bounce:{code}"
    assert error["facts"] == {"email_id": str(email_id), "email_type": "REC_CU", "smtp_code": code}
    await service.make_due(email_id)
    assert await service.dispatch() == 0
    assert smtp.received == []


@pytest.mark.parametrize(("local_part", "outcome"), [("greylist", "transient"), ("taken", "unknown")])
async def test_a_mail_not_taken_now_is_tried_again_after_a_minute(
    service: Notifications, smtp: SmtpServer, local_part: str, outcome: str
) -> None:
    email_id = await service.receipt(local_part)
    await service.dispatch()
    waiting = await service.email(email_id)
    assert (waiting.state, waiting.delays, waiting.lease_token) == ("queued", 1, None)
    assert waiting.due_at - waiting.changed_at == timedelta(minutes=1)
    assert await service.dispatch() == 0
    assert await keys(service) == []
    await service.make_due(email_id)
    await service.dispatch()
    assert await service.outcomes(email_id) == [outcome, "accepted"]
    assert (await service.email(email_id)).state == "sent"
    copies = smtp.of(f"{local_part}@example.com")
    assert len(copies) == (2 if outcome == "unknown" else 1)
    assert {copy.message_id for copy in copies} == {waiting.message_id_header}


async def test_a_connection_lost_within_the_content_leaves_the_outcome_unknown(service: Notifications) -> None:
    email_id = await service.receipt("drop")
    await service.dispatch()
    assert await service.outcomes(email_id) == ["unknown"]
    assert (await service.email(email_id)).state == "queued"


async def test_a_mail_nobody_takes_for_four_days_is_given_up_with_an_error(service: Notifications) -> None:
    email_id = await service.receipt("full")
    await service.dispatch()
    await service.change(email_id, due_at=func.now(), first_delayed_at=func.now() - timedelta(days=4), delays=27)
    await service.dispatch()
    assert (await service.email(email_id)).state == "failed"
    assert await service.outcomes(email_id) == ["transient", "transient"]
    assert await keys(service) == ["notifications.email.failed.v1", ERROR]
    error = (await service.published())[-1].body
    assert (error["error_type"], error["note"]) == ("email_failure", "452 4.3.1 insufficient storage")
    await service.make_due(email_id)
    assert await service.dispatch() == 0


async def take(service: Notifications, lease: timedelta) -> Taken:
    async with service.work(context()) as work:
        [taken] = await take_due(work, 10, lease)
    return taken


async def test_a_mail_whose_sender_died_is_sent_again_under_the_same_message_id(
    service: Notifications, smtp: SmtpServer
) -> None:
    email_id = await service.receipt()
    await take(service, timedelta(minutes=5))
    assert await service.dispatch() == 0, "somebody still holds it"
    await service.change(email_id, leased_until=func.now())
    assert await service.dispatch() == 1
    interrupted, accepted = await service.attempts(email_id)
    assert (interrupted.outcome, accepted.outcome) == ("unknown", "accepted")
    assert interrupted.detail is not None
    assert "interrupted" in interrupted.detail
    assert smtp.received[0].message_id == (await service.email(email_id)).message_id_header


async def test_a_mail_that_kills_every_sender_is_given_up_in_the_end(service: Notifications) -> None:
    email_id = await service.receipt()
    await take(service, timedelta(minutes=5))
    past = func.now() - timedelta(days=4)
    await service.change(email_id, leased_until=func.now(), first_delayed_at=past, delays=27)
    assert await service.dispatch() == 0
    email = await service.email(email_id)
    assert (email.state, email.attempts) == ("failed", 1)
    assert await keys(service) == ["notifications.email.failed.v1", ERROR]


async def test_a_sender_paused_past_its_lease_changes_nothing(service: Notifications) -> None:
    email_id = await service.receipt()
    stale = await take(service, timedelta(0))
    current = await take(service, timedelta(minutes=5))
    async with service.work(context()) as work:
        await settle(work, [Settled(stale, Answer(Outcome.PERMANENT, 550, "gone"))])
    email = await service.email(email_id)
    assert (email.state, email.lease_token) == ("sending", current.token)
    assert await keys(service) == []
    async with service.work(context()) as work:
        await settle(work, [Settled(current, Answer(Outcome.ACCEPTED, 250, "ok"))])
    assert await keys(service) == ["notifications.email.sent.v1"]


async def test_while_no_server_answers_mails_wait_and_none_is_blamed(service: Notifications, smtp: SmtpServer) -> None:
    made = [await service.receipt() for _ in range(10)]
    await smtp.stop()
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await service.dispatch()
        for email_id in made:
            email = await service.email(email_id)
            assert (email.state, email.attempts, email.delays, email.lease_token) == ("queued", 0, 0, None)
            assert await service.attempts(email_id) == []
        assert await keys(service) == []
        await smtp.start()
        assert await service.dispatch() == 10
    assert [line["event"] for line in lines] == ["smtp_unavailable", "smtp_available"]
    assert sorted(mail.message_id for mail in smtp.received) == sorted(
        [(await service.email(email_id)).message_id_header for email_id in made]
    )


async def test_a_wrong_password_lets_mails_wait(service: Notifications, smtp: SmtpServer) -> None:
    email_id = await service.receipt()
    right = service.settings
    wrong = SecretStr(f"smtp://shop:wrong@127.0.0.1:{smtp.port}")
    service.settings = right.model_copy(update={"smtp_url": wrong})
    with pytest.raises(Unavailable, match="535"):
        await service.dispatch()
    assert (await service.email(email_id)).state == "queued"
    assert await service.attempts(email_id) == []
    service.settings, service.job = right, dispatch_job()
    assert await service.dispatch() == 1


async def test_two_dispatchers_send_every_mail_once(service: Notifications, smtp: SmtpServer) -> None:
    made = [await service.receipt(f"customer{number}") for number in range(40)]
    second = dispatch_job()
    taken = await asyncio.gather(service.dispatch(), service.dispatch(second))
    await second.finish(service)
    assert sum(taken) == 40
    assert len(smtp.received) == len({mail.recipient for mail in smtp.received}) == 40
    assert [(await service.email(email_id)).state for email_id in made] == ["sent"] * 40


async def test_one_hanging_mail_does_not_hold_up_the_others(service: Notifications, smtp: SmtpServer) -> None:
    """More of them than this process has in hand: the next are taken while the first still waits for its answer."""
    hanging = await service.receipt("hanging")
    others = [await service.receipt(f"customer{number}") for number in range(3 * IN_HAND)]
    await service.dispatch_until_sent(*others)
    assert (await service.email(hanging)).state == "sending"
    smtp.go_on.set()
    await service.dispatch()
    assert (await service.email(hanging)).state == "sent"
    assert len(smtp.received) == 1 + len(others)


async def test_a_new_mail_is_taken_at_once_while_another_waits_for_its_answer(
    service: Notifications, smtp: SmtpServer
) -> None:
    hanging = await service.receipt("hanging")
    assert await service.job.round(service) == 1
    await smtp.heard_of("hanging@example.com")
    quick = await service.receipt("quick")
    assert await service.job.round(service) == 1
    await service.dispatch_until_sent(quick)
    assert (await service.email(hanging)).state == "sending"
    smtp.go_on.set()
    await service.job.drain(service)
    assert [mail.recipient for mail in smtp.received] == ["quick@example.com", "hanging@example.com"]


async def test_a_full_hand_takes_nothing_more(service: Notifications, smtp: SmtpServer) -> None:
    made = [await service.receipt("hanging") for _ in range(IN_HAND + 1)]
    assert await service.job.round(service) == IN_HAND
    await smtp.heard_of("hanging@example.com", times=service.settings.dispatch_concurrency)
    assert await service.job.round(service) == 0
    assert (await service.email(made[-1])).state == "queued"
    assert smtp.connections == service.settings.dispatch_concurrency
    smtp.go_on.set()
    await service.dispatch()


@dataclass
class Outage(Notifications):
    """The database is away when an outcome is to be written down."""

    outages: int = 0
    opened: int = 0

    @asynccontextmanager
    async def work(self, context: MessageContext) -> AsyncIterator[UnitOfWork]:
        self.opened += 1
        if self.opened > 1 and self.outages:
            self.outages -= 1
            raise ConnectionError
        async with super().work(context) as work:
            yield work


async def test_an_answer_is_kept_while_the_database_is_away(service: Notifications, smtp: SmtpServer) -> None:
    email_id = await service.receipt()
    away = Outage(service.sessions, service.settings, outages=2)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await away.dispatch()
    assert (await service.email(email_id)).state == "sending"
    assert await away.dispatch() == 0
    assert (await service.email(email_id)).state == "sent"
    assert len(smtp.received) == 1
    await away.job.finish(away)


async def test_a_dispatcher_that_is_stopped_writes_down_what_it_has_begun(
    service: Notifications, smtp: SmtpServer
) -> None:
    email_id = await service.receipt("hanging")
    await service.job.round(service)
    await smtp.heard_of("hanging@example.com")
    stopping = asyncio.create_task(service.job.finish(service))
    smtp.go_on.set()
    await stopping
    assert (await service.email(email_id)).state == "sent"
    assert len(smtp.received) == 1


async def test_a_dispatcher_that_is_stopped_puts_back_what_it_has_not_begun(
    service: Notifications, smtp: SmtpServer
) -> None:
    begun = [await service.receipt("hanging") for _ in range(service.settings.dispatch_concurrency)]
    waiting, not_taken = await service.receipt(), await service.receipt("later")
    await service.change(not_taken, due_at=func.now() + timedelta(hours=1))
    await service.job.round(service)
    await smtp.heard_of("hanging@example.com", times=len(begun))
    await service.make_due(not_taken)
    stopping = asyncio.create_task(service.job.finish(service))
    await asyncio.sleep(0)
    smtp.go_on.set()
    await stopping
    assert [(await service.email(email_id)).state for email_id in begun] == ["sent"] * len(begun)
    for email_id in (waiting, not_taken):
        email = await service.email(email_id)
        assert (email.state, email.attempts, email.lease_token) == ("queued", 0, None)
        assert await service.attempts(email_id) == []


async def test_a_mail_that_waits_too_long_for_a_connection_is_put_back_and_sent_later(
    service: Notifications, smtp: SmtpServer
) -> None:
    smtp.slow_seconds = 0.6
    service.settings = service.settings.model_copy(update={"dispatch_concurrency": 1, "smtp_timeout_seconds": 0.8})
    made = [await service.receipt("slow") for _ in range(4)]
    with structlog.testing.capture_logs() as lines:
        await service.dispatch()
    assert [line for line in lines if line["log_level"] != "info"] == []
    assert [await service.outcomes(email_id) for email_id in made] == [["accepted"]] * 4
    assert len(smtp.received) == 4


async def test_different_answers_are_written_down_together(service: Notifications) -> None:
    answers = [
        Answer(Outcome.ACCEPTED, 250, "taken"),
        Answer(Outcome.PERMANENT, 550, "gone"),
        Answer(Outcome.TRANSIENT, 451, "later"),
        None,
        Answer(Outcome.ACCEPTED, 251, "taken too"),
    ]
    made = [await service.receipt() for _ in answers]
    async with service.work(context()) as work:
        taken = {one.email_id: one for one in await take_due(work, 10, timedelta(minutes=5))}
    assert [one.email_id for one in taken.values()] == made, "oldest first"
    async with service.work(context()) as work:
        await settle(work, [Settled(taken[key], answer) for key, answer in zip(made, answers, strict=True)])
    emails = [await service.email(email_id) for email_id in made]
    assert [email.state for email in emails] == ["sent", "bounced", "queued", "queued", "sent"]
    assert [email.version for email in emails] == [3] * 5
    assert [email.lease_token for email in emails] == [None] * 5
    noted = [await service.attempts(email_id) for email_id in made]
    assert [[(each.outcome, each.smtp_code, each.detail) for each in some] for some in noted] == [
        [(answer.outcome.value, answer.code, answer.detail)] if answer else [] for answer in answers
    ]


async def test_the_answers_and_the_next_mails_share_few_statements(service: Notifications) -> None:
    """However many mails there are: each statement costs as much as handing a mail over."""
    for _ in range(12):
        await service.receipt()
    async with service.work(context()) as work:
        first = await take_due(work, 6, timedelta(minutes=5))
    with noted_statements(service.sessions) as statements:
        async with service.work(context()) as work:
            await settle(work, [Settled(one, Answer(Outcome.ACCEPTED, 250, "ok")) for one in first])
            assert len(await take_due(work, 6, timedelta(minutes=5))) == 6
    assert len(statements) <= 3, statements


async def test_one_mail_that_breaks_the_code_does_not_stop_the_others(service: Notifications, smtp: SmtpServer) -> None:
    broken, whole = await service.receipt("broken"), await service.receipt()
    await service.change(broken, recipient="no address")
    await service.dispatch()
    assert (await service.email(whole)).state == "sent"
    assert (await service.email(broken)).state == "bounced"
    assert len(smtp.received) == 1


async def test_the_database_refuses_what_the_code_should_have_refused(service: Notifications) -> None:
    email_id = await service.receipt()
    wrong: list[dict[str, object]] = [
        {"state": "lost"},
        {"state": EmailState.SENDING.value},
        {"lease_token": new_id()},
        {"state": EmailState.SENT.value},
        {"subject": "two\nlines"},
    ]
    for values in wrong:
        with pytest.raises(Exception, match="violates check constraint"):
            await service.change(email_id, **values)


async def test_the_dispatcher_finds_due_mails_by_its_index(service: Notifications) -> None:
    async def plan() -> str:
        async with service.sessions() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            statement = f"EXPLAIN SELECT id FROM email WHERE {TO_DISPATCH} AND due_at <= now() ORDER BY due_at"
            return str((await connection.exec_driver_sql(statement)).all())

    ids: list[UUID] = [await service.receipt() for _ in range(3)]
    assert len(ids) == 3
    assert "ix_email_to_dispatch" in await plan()
