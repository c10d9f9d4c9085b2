"""A process that runs one round of the dispatcher; with FAILPOINT set it dies within."""

import asyncio
import sys

from services.notifications.jobs import Dispatcher
from shared.database import create_engine, create_sessions
from tests.integration.notifications.harness import Notifications, settings


async def main(database_url: str, smtp_port: int) -> None:
    engine = create_engine(database_url, service="notifications-test")
    service = Notifications(settings(database_url, smtp_port), create_sessions(engine), dispatcher=Dispatcher())
    await service.dispatch()
    await service.dispatcher.close()
    await engine.dispose()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
