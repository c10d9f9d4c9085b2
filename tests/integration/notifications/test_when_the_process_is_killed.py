"""SIGKILL in the worst places: no mail is lost, and every copy of a mail has the same identity."""

import asyncio
import os
import signal
import sys

import pytest
from sqlalchemy import func

from tests.integration.notifications.harness import Notifications
from tests.integration.notifications.smtp_server import SmtpServer


async def killed_at(failpoint: str, database_url: str, smtp_port: int) -> int | None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.notifications.dispatching_process",
        database_url,
        str(smtp_port),
        env=os.environ | {"FAILPOINT": failpoint},
    )
    return await process.wait()


@pytest.mark.parametrize(
    ("failpoint", "copies"),
    [("email_sending", 1), ("smtp_accepted", 2)],
)
async def test_the_mail_is_sent_by_whoever_comes_next(
    service: Notifications, smtp: SmtpServer, database_url: str, failpoint: str, copies: int
) -> None:
    email_id = await service.receipt()
    assert await killed_at(failpoint, database_url, smtp.port) == -signal.SIGKILL
    left = await service.email(email_id)
    assert (left.state, await service.outcomes(email_id)) == ("sending", ["unknown"])
    assert len(smtp.received) == copies - 1
    assert await service.dispatch() == 0, "nobody sends it while the lease runs"
    await service.change(email_id, leased_until=func.now())
    assert await service.dispatch() == 1
    assert len(smtp.received) == copies
    assert {mail.message_id for mail in smtp.received} == {left.message_id_header}
    assert await service.outcomes(email_id) == ["unknown", "accepted"]
    sent = [event for event in await service.published() if event.key == "notifications.email.sent.v1"]
    assert len(sent) == 1
