"""The people of deploy/directory.yaml in the databases of a test."""

import asyncpg

from services.directory.file import load
from shared.contracts import SERVICES
from tools.dev.instance import CHECKOUT

FIRST = CHECKOUT / "deploy" / "directory.yaml"


async def fill_directory(url: str) -> None:
    """Load the first client and its people, with everything about them published already."""
    await load(url, FIRST, first=True)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DELETE FROM outbox")
        await connection.execute(
            "INSERT INTO announcement (id, services, at) VALUES (1, $1, now())", " ".join(sorted(SERVICES))
        )
    finally:
        await connection.close()


async def copy_staff(directory_url: str, url: str) -> None:
    """Give a service the copies of the users that the directory itself keeps."""
    source = await asyncpg.connect(directory_url)
    target = await asyncpg.connect(url)
    try:
        rows = await source.fetch("SELECT * FROM staff_copy")
        assert rows
        await target.copy_records_to_table(
            "staff_copy", records=[tuple(row) for row in rows], columns=list(rows[0].keys())
        )
    finally:
        await source.close()
        await target.close()
