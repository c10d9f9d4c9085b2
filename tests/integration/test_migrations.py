"""`./dev migration` drafts what tables lack of models, both ways; no service's tables lack anything."""

import asyncio
import shutil
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from deploy.services import SERVICES, load
from services.errorlog.models import ErrorlogTables
from tests.support.servers import TestServers
from tools.dev.failure import SetupFailed
from tools.dev.instance import CHECKOUT
from tools.dev.migration import write_migration

PACKAGE = "services.errorlog"
NAMES = [service.name for service in SERVICES]
VERSIONS = Path("services/errorlog/migrations/versions")


@pytest.mark.parametrize("name", NAMES)
async def test_migrations_lead_to_exactly_the_tables_of_the_models(servers: TestServers, name: str) -> None:
    url = await servers.new_database(name, f"{name}_{uuid4().hex[:12]}")
    service = load(name)
    with pytest.raises(SetupFailed, match="as the models say"):
        await asyncio.to_thread(write_migration, service.package, service.tables.metadata, url, "nothing")


async def test_a_column_that_is_missing_is_drafted(servers: TestServers, tmp_path: Path) -> None:
    url = await servers.new_database("errorlog", f"errorlog_{uuid4().hex[:12]}")
    shutil.copytree(CHECKOUT / VERSIONS, tmp_path / VERSIONS)

    def write() -> Path:
        return write_migration(PACKAGE, ErrorlogTables.metadata, url, "errors have a title", root=tmp_path)

    with pytest.raises(SetupFailed, match="as the models say"):
        await asyncio.to_thread(write)
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER TABLE error_entry DROP COLUMN title")
    await connection.close()
    file = await asyncio.to_thread(write)
    text = file.read_text()
    assert file.name.endswith("_errors_have_a_title.py")
    assert text.index("op.add_column('error_entry'") < text.index("def downgrade") < text.index("op.drop_column(")
    compile(text, file.name, "exec")
