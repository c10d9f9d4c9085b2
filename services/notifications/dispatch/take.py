"""Which mails are taken for sending. Rules: docs/domain.md, "Sending e-mails"."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from services.notifications.dispatch.settle import count_delay, fail
from services.notifications.dispatch.store import Taken, explain_attempt, lease_again, lease_due, read_interrupted
from services.notifications.email.store import close_change
from shared.contracts.notifications import EmailState
from shared.messaging.unit_of_work import UnitOfWork

_INTERRUPTED: Final = "Sending was interrupted before an answer was recorded; the server may have taken the mail."


async def take_due(work: UnitOfWork, limit: int, lease: timedelta) -> list[Taken]:
    """Take due mails for sending and write the attempt down. Whoever called commits before anything is sent.

    Mails whose lease ran out while they were being sent are taken again: whether they left is unknown, so they are
    sent again under the same Message-ID. docs/domain.md, "Sending e-mails".
    """
    taken, interrupted = await lease_due(work, limit, lease)
    return taken + await _take_again(work, interrupted, lease) if interrupted else taken


async def _take_again(work: UnitOfWork, ids: Sequence[UUID], lease: timedelta) -> list[Taken]:
    """Take mails, locked already, whose sending was interrupted; those that were tried for too long are given up."""
    again: list[Taken] = []
    for email, now in await read_interrupted(work, ids):
        await explain_attempt(work, email, _INTERRUPTED)
        if count_delay(email, now) is None:
            await fail(work, email, _INTERRUPTED, now)
            continue
        await close_change(work, email, EmailState.SENDING, at=now)
        again.append(lease_again(work, email, lease, at=now))
    return again
