"""A process that sends what is due; with FAILPOINT set it dies within."""

import asyncio
import sys

from shared.database import create_engine, create_sessions
from tests.integration.notifications.harness import Notifications, settings


async def main(database_url: str, smtp_port: int) -> None:
    engine = create_engine(database_url, service="notifications-test")
    service = Notifications(settings(database_url, smtp_port), create_sessions(engine))
    await service.dispatch()
    await service.job.finish(service)
    await engine.dispose()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
