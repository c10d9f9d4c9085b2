"""Handled messages are forgotten after their window, and not before."""

from services.purchases.models import PurchasesTables
from shared.database import create_engine, create_sessions
from shared.messaging import housekeeping
from shared.messaging.origin import new_id
from tests.support.servers import TestServers


async def test_only_rows_older_than_the_window_go(servers: TestServers) -> None:
    url = await servers.new_database("purchases", "purge_purchases")
    engine = create_engine(url, service="test")
    inbox = PurchasesTables.inbox
    try:
        async with engine.begin() as connection:
            for age, count in (("29 days 23 hours", 3), ("30 days 1 hour", 7)):
                for _ in range(count):
                    await connection.exec_driver_sql(
                        "INSERT INTO inbox (message_id, handler, fingerprint, received_at)"
                        f" VALUES ('{new_id()}', 'h', '', now() - interval '{age}')"
                    )
        sessions = create_sessions(engine)
        assert await housekeeping.forget_handled(sessions, inbox) == 7
        assert await housekeeping.forget_handled(sessions, inbox) == 0
        async with engine.connect() as connection:
            left = (await connection.exec_driver_sql("SELECT count(*) FROM inbox")).scalar_one()
        assert left == 3
    finally:
        await engine.dispose()
        await servers.drop_databases("purge_purchases")
