"""Bringing a service's database to the schema of this release, with Alembic.

A service keeps `migrations/env.py` (two lines that call `run`) and `migrations/versions/`. Instances that start side
by side wait for each other under an advisory lock; a migration that cannot get a table's lock within two seconds
gives up instead of queueing the whole service behind it, and may simply be started again.
"""

from importlib.util import find_spec
from pathlib import Path

from alembic import command, context
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations.ops import DowngradeOps, UpgradeOps
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

_LOCK = "aftersale-migrations"
_WAIT_FOR_OTHERS = "60s"
_WAIT_FOR_TABLES = "2s"


async def upgrade(url: str, package: str, revision: str = "head") -> None:
    """Bring the database to this release's schema. Nothing happens if it is there already, or ahead.

    Raises the database's error if a lock is not to be had in time; what was migrated until then stays.
    """
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await _wait_at_most(connection, _WAIT_FOR_OTHERS)
            await connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), {"name": _LOCK})
            await _wait_at_most(connection, _WAIT_FOR_TABLES)
            await connection.commit()
            if revision != "head" or is_behind(package, await current_revision(connection)):
                await connection.rollback()
                await connection.run_sync(_upgrade, package, revision)
    finally:
        await engine.dispose()


async def current_revision(connection: AsyncConnection | AsyncSession) -> str | None:
    """The revision the database is at; None where nothing was migrated yet."""
    if (await connection.execute(text("SELECT to_regclass('alembic_version')"))).scalar_one() is None:
        return None
    return (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()


def head_revision(package: str) -> str:
    """The revision that this release of a service is written for."""
    head = ScriptDirectory.from_config(_config(package)).get_current_head()
    if head is None:
        raise LookupError(f"{package} has no migrations")
    return head


def is_behind(package: str, revision: str | None) -> bool:
    """Whether a database at this revision still needs migrating.

    A revision that this release does not know is a newer one. Migrations only add until the release after, so that
    the older release keeps working beside the newer.
    """
    if revision is None:
        return True
    scripts = ScriptDirectory.from_config(_config(package))
    try:
        known = scripts.get_revision(revision)
    except CommandError:
        return False
    return known.revision != scripts.get_current_head()


async def difference(connection: AsyncConnection, metadata: MetaData) -> str:
    """What a database lacks of the models, as the Python code of a migration; `pass` alone where nothing does."""
    return (await changes(connection, metadata))[0]


async def changes(connection: AsyncConnection, metadata: MetaData) -> tuple[str, str]:
    """The same, and the code of the way back."""
    return await connection.run_sync(_changes, metadata)


def run(metadata: MetaData) -> None:
    """Do what Alembic was asked for; the whole of a service's `env.py`. Each migration is its own transaction."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _config(package: str) -> Config:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"{package} is not a package")
    config = Config()
    folder = Path(spec.submodule_search_locations[0]) / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


async def _wait_at_most(connection: AsyncConnection, duration: str) -> None:
    await connection.execute(text("SELECT set_config('lock_timeout', :duration, false)"), {"duration": duration})


def _upgrade(connection: Connection, package: str, revision: str) -> None:
    config = _config(package)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _changes(connection: Connection, metadata: MetaData) -> tuple[str, str]:
    found = produce_migrations(MigrationContext.configure(connection), metadata)
    return _code(found.upgrade_ops), _code(found.downgrade_ops)


def _code(operations: UpgradeOps | DowngradeOps | None) -> str:
    return render_python_code(operations) if operations is not None else "pass"
