"""`python -m services.directory` runs the service; `import FILE`, `export [FILE]` and `announce` are words of its own.

They act on the database as `service:directory`; what they change the running service publishes.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.directory.announce import announce_all
from services.directory.app import service
from services.directory.file import FileInvalid, dump, load
from services.directory.settings import DirectorySettings
from services.directory.store import own_work
from shared.contracts.refusals import Refused
from shared.process import main
from shared.settings import SettingsInvalid

WORDS: Final = frozenset({"import", "export", "announce"})


def run(words: Sequence[str]) -> None:
    """Do what the words say; ends the process with the reason where that is impossible."""
    try:
        asyncio.run(_run(DirectorySettings.load().database_url.get_secret_value(), words))
    except (SettingsInvalid, FileInvalid, OSError) as error:
        sys.exit(f"directory: {error}")
    except Refused as refusal:
        facts = " ".join(f"{name}={value}" for name, value in refusal.facts.items())
        sys.exit(f"directory: nothing was imported: {refusal.detail} ({refusal.code}) {facts}".rstrip())


async def _run(url: str, words: Sequence[str]) -> None:
    match list(words):
        case ["import", file]:
            print(f"{await load(url, Path(file))} records changed.", file=sys.stderr)  # noqa: T201
        case ["export"]:
            sys.stdout.write(await dump(url))
        case ["export", file]:
            text = await dump(url)
            await asyncio.to_thread(Path(file).write_text, text, encoding="utf-8")
        case ["announce"]:
            async with own_work(url) as work:
                count = await announce_all(work)
            print(f"{count} records will be published.", file=sys.stderr)  # noqa: T201
        case _:
            sys.exit("usage: python -m services.directory [import FILE | export [FILE] | announce]")


if WORDS.intersection(sys.argv[1:2]):
    run(sys.argv[1:])
else:
    main(service)
