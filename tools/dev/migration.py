"""`./dev migration SERVICE "words"`: the migration that brings a service's tables to its models, as a draft to read."""

import asyncio
import re
from pathlib import Path
from typing import Final

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.migrations import changes, current_revision, head_revision
from tools.dev.failure import SetupFailed
from tools.dev.instance import CHECKOUT

_DRAFT: Final = '''"""{words}."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "{revision}"
down_revision = {before}
branch_labels = None
depends_on = None


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''


def write_migration(package: str, metadata: MetaData, url: str, words: str, *, root: Path = CHECKOUT) -> Path:
    """Write the draft beside the service's other migrations and return where.

    The database must be at this release's last revision. Raises SetupFailed where it is not, or lacks nothing.
    """
    folder = root / package.replace(".", "/") / "migrations" / "versions"
    before = head_revision(package) if any(folder.glob("[0-9]*.py")) else None
    upgrade, downgrade = asyncio.run(_changes(url, metadata, before))
    if upgrade == "pass":
        raise SetupFailed("the tables are as the models say", "Change models.py first.")
    revision = f"{int(before or 0) + 1:04}"
    file = folder / f"{revision}_{re.sub(r'[^a-z0-9]+', '_', words.lower()).strip('_')}.py"
    file.write_text(
        _DRAFT.format(
            words=words[:1].upper() + words[1:],
            revision=revision,
            before=f'"{before}"' if before else None,
            upgrade=upgrade,
            downgrade=downgrade,
        )
    )
    return file


async def _changes(url: str, metadata: MetaData, expected: str | None) -> tuple[str, str]:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            found = await current_revision(connection)
            if found != expected:
                raise SetupFailed(f"the database is at revision {found}, not at {expected}", "./dev migrate first.")
            upgrade, downgrade = await changes(connection, metadata)
            return _without_comments(upgrade), _without_comments(downgrade)
    finally:
        await engine.dispose()


def _without_comments(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if not line.lstrip().startswith("#")).strip()
