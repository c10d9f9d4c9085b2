"""The background work of the directory."""

from datetime import timedelta
from typing import Final

from services.directory.announce import announce_if_due
from services.directory.settings import DirectorySettings
from shared.contracts.directory import PLATFORM
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.service import PeriodicJob, Runtime

SELF: Final = "service:directory"


def own_context() -> MessageContext:
    """Where the directory's own work comes from."""
    return MessageContext(client_id=PLATFORM, actor=SELF, message_id=None, correlation_id=str(new_id()))


async def announce(runtime: Runtime[DirectorySettings]) -> int:
    """Let every service know every record, at least once a day."""
    async with runtime.work(own_context()) as work:
        await announce_if_due(work)
    return 0


ANNOUNCE: Final = PeriodicJob("announce", announce, every=timedelta(minutes=1))
