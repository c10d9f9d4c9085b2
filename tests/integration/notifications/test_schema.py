"""The schema is reached by migrations and is that of the models."""

from services.notifications.models import NotificationsTables
from shared import migrations
from shared.database import create_engine


async def test_the_migrated_database_is_that_of_the_models(database_url: str) -> None:
    engine = create_engine(database_url, service="notifications-test")
    try:
        async with engine.connect() as connection:
            missing = await migrations.difference(connection, NotificationsTables.metadata)
            revision = await migrations.current_revision(connection)
    finally:
        await engine.dispose()
    assert [line for line in missing.splitlines() if line.strip() and not line.strip().startswith("#")] == ["    pass"]
    assert revision == migrations.head_revision("services.notifications")
