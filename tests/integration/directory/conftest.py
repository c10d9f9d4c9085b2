"""A database of the directory, with this release's schema and nobody in it."""

import os
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from shared import migrations
from shared.database import create_engine, create_sessions
from tests.integration.directory.arranging import Directory


@pytest.fixture(scope="session")
async def directory_url() -> AsyncIterator[str]:
    server = make_url(os.environ["AFTERSALE_TEST_DATABASE_URL"])
    name = f"directory_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(server.render_as_string(hide_password=False))
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        url = server.set(database=name).render_as_string(hide_password=False)
        await migrations.upgrade(url, "services.directory")
        yield url
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


@pytest.fixture
async def directory(directory_url: str) -> AsyncIterator[Directory]:
    """The directory on that database. Tests share it and keep apart by their own clients."""
    engine = create_engine(directory_url, service="directory", pool_size=4)
    yield Directory(create_sessions(engine))
    await engine.dispose()
