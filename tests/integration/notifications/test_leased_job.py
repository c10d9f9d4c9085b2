"""What every leased job promises, proved with mails: one bad item is alone in its trouble."""

from datetime import timedelta

import pytest

from services.notifications.dispatch.job import DispatchJob
from services.notifications.dispatch.rules import Answer, Outcome
from services.notifications.dispatch.settle import settle
from services.notifications.dispatch.store import ACTOR, Taken
from services.notifications.dispatch.take import take_due
from services.notifications.settings import Settings
from shared.messaging.leased_job import Capacity, NotSettled
from shared.messaging.service import Runtime
from tests.integration.notifications.harness import Notifications


async def accept(_: Runtime[Settings], taken: Taken) -> Answer:
    if taken.mail.recipient == "breaking@example.com":
        raise OSError
    return Answer(Outcome.ACCEPTED, 250, "ok")


def job() -> DispatchJob:
    lease = timedelta(minutes=5)
    capacity = Capacity(at_once=10, lease=lease)
    return DispatchJob("dispatch", actor=ACTOR, capacity=lambda _: capacity, take=take_due, act=accept, settle=settle)


@pytest.mark.parametrize("trouble", ["the act breaks", "the result cannot be written down"])
async def test_one_bad_item_keeps_no_other_from_its_end(service: Notifications, trouble: str) -> None:
    bad = await service.receipt("breaking" if trouble == "the act breaks" else "bad")
    good = [await service.receipt(f"good{number}") for number in range(3)]
    if trouble == "the result cannot be written down":
        await service.change(bad, subject="")  # No event may say this.
    service.job = job()
    assert await service.job.round(service) == 4
    with pytest.raises(NotSettled) as failed:
        await service.job.drain(service)
    assert len(failed.value.exceptions) == 1
    assert [(await service.email(email_id)).state for email_id in good] == ["sent"] * 3
    left = await service.email(bad)
    assert (left.state, await service.outcomes(bad)) == ("sending", ["unknown"])
    assert left.leased_until is not None, "somebody takes it again after the lease"
    assert await service.job.round(service) == 0
