"""A process that sends what is due; with FAILPOINT set it dies within."""

import asyncio
import sys

from tests.integration.notifications.harness import Notifications, settings
from tests.support.service import sessions_of


async def main(database_url: str, smtp_port: int) -> None:
    async with sessions_of(database_url, "notifications") as sessions:
        service = Notifications(sessions, settings(database_url, smtp_port))
        await service.dispatch()
        await service.job.finish(service)


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
