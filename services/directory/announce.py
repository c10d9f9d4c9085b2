"""Publishing everything as it stands, for services that came later or missed something.

Versions stay as they are, so listeners that know a record already change nothing.
"""

from datetime import timedelta
from typing import Final

from services.directory.settings import DirectorySettings
from services.directory.store import Record, begin_announcement, for_client, own_context, publish_record
from services.directory.view import read_everything
from shared.contracts import SERVICES
from shared.messaging.service import PeriodicJob, Runtime
from shared.messaging.unit_of_work import UnitOfWork

EVERY: Final = timedelta(days=1)


async def announce_if_due(work: UnitOfWork) -> int:
    """Publish everything if a service is new since the last time, or a day has passed. Returns how many records."""
    if await begin_announcement(work, " ".join(sorted(SERVICES)), EVERY):
        return await announce_all(work)
    return 0


async def announce_all(work: UnitOfWork) -> int:
    """Publish every record. Returns how many."""
    everything = await read_everything(work)
    records: list[Record] = [
        *everything.clients,
        *everything.offices,
        *everything.departments,
        *everything.users,
    ]
    for record in records:
        await publish_record(for_client(work, record.client_id), record)
    return len(records)


async def announce(runtime: Runtime[DirectorySettings]) -> int:
    """Let every service know every record, at least once a day."""
    async with runtime.work(own_context()) as work:
        await announce_if_due(work)
    return 0


ANNOUNCE: Final = PeriodicJob("announce", announce, every=timedelta(minutes=1))
