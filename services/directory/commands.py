"""The directory's own words on the command line: `import FILE`, `export`, `announce`.

They act on the database as `service:directory`; what they change the running service publishes.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import func, select

from services.directory.announce import announce_all
from services.directory.file import DirectoryFile, FileInvalid, export_directory, import_directory
from services.directory.jobs import own_context
from services.directory.models import Client, DirectoryTables, User
from services.directory.settings import DirectorySettings
from shared.contracts.refusals import Refused
from shared.database import create_engine, create_sessions
from shared.messaging.unit_of_work import UnitOfWork, open_unit_of_work
from shared.settings import SettingsInvalid

T = TypeVar("T")
WORDS: Final = frozenset({"import", "export", "announce"})


def run(words: Sequence[str]) -> int:
    """Do what the words say; returns the exit code."""
    usage = "usage: python -m services.directory [import FILE | export [FILE] | announce]"
    try:
        url = DirectorySettings.load().database_url.get_secret_value()
        match list(words):
            case ["import", file]:
                changed = asyncio.run(load(url, Path(file)))
                print(f"{changed} records changed.", file=sys.stderr)  # noqa: T201
            case ["export"]:
                sys.stdout.write(asyncio.run(dump(url)))
            case ["export", file]:
                Path(file).write_text(asyncio.run(dump(url)), encoding="utf-8")
            case ["announce"]:
                told = asyncio.run(_in_a_transaction(url, announce_all))
                print(f"{told} records will be published.", file=sys.stderr)  # noqa: T201
            case _:
                sys.exit(usage)
    except (SettingsInvalid, FileInvalid, OSError) as error:
        sys.exit(f"directory: {error}")
    except Refused as refusal:
        facts = " ".join(f"{name}={value}" for name, value in refusal.facts.items())
        sys.exit(f"directory: nothing was imported: {refusal.detail} ({refusal.code}) {facts}".rstrip())
    return 0


async def load(url: str, file: Path, *, first: bool = False) -> int:
    """Make the directory as a file says; `first`: only if it knows nobody yet. Returns how many records changed.

    Raises FileInvalid, Refused, OSError; then nothing is changed.
    """
    wanted = DirectoryFile.parse(await asyncio.to_thread(file.read_text, encoding="utf-8"))

    async def into(work: UnitOfWork) -> int:
        if first and not await _is_empty(work):
            return 0
        return await import_directory(work, wanted)

    return await _in_a_transaction(url, into)


async def dump(url: str) -> str:
    """The directory as a file."""

    async def out_of(work: UnitOfWork) -> str:
        return (await export_directory(work.session)).text()

    return await _in_a_transaction(url, out_of)


async def _is_empty(work: UnitOfWork) -> bool:
    users = await work.session.scalar(select(func.count()).select_from(User))
    return not users and not await work.session.scalar(select(func.count()).select_from(Client))


async def _in_a_transaction(url: str, do: Callable[[UnitOfWork], Awaitable[T]]) -> T:
    async with _work(url) as work:
        return await do(work)


@asynccontextmanager
async def _work(url: str) -> AsyncIterator[UnitOfWork]:
    engine = create_engine(url, service="directory", pool_size=1)
    try:
        outbox = DirectoryTables.outbox
        context = own_context()
        async with open_unit_of_work(
            create_sessions(engine), service="directory", outbox=outbox, context=context
        ) as work:
            yield work
    finally:
        await engine.dispose()
