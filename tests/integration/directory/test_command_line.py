"""`python -m services.directory import | export | announce`, as an operator runs it."""

import asyncio
import os
import sys
from pathlib import Path

from services.directory.file import dump
from shared.contracts.directory import ClientChanged
from tests.integration.directory.arranging import Directory
from tools.dev.instance import CHECKOUT


async def run(url: str, *words: str) -> tuple[int | None, str, str]:
    """The exit code, the standard output and the errors."""
    settings = {"DIRECTORY_DATABASE_URL": url, "DIRECTORY_AMQP_URL": "amqp://nobody:nothing@127.0.0.1:1/none"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.directory", *words,
        env=os.environ | settings, cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


async def test_a_file_is_read_in_and_written_out(directory: Directory, directory_url: str, tmp_path: Path) -> None:
    client = await directory.client()
    wanted, exported = tmp_path / "wanted.yaml", tmp_path / "export.yaml"
    wanted.write_text(f"clients: {{{client}: {{name: Renamed}}}}\n")
    assert await run(directory_url, "import", str(wanted)) == (0, "", "1 records changed.\n")
    assert await run(directory_url, "import", str(wanted)) == (0, "", "0 records changed.\n")
    code, out, _ = await run(directory_url, "export")
    assert (code, out) == (0, await dump(directory_url))
    assert await run(directory_url, "export", str(exported)) == (0, "", "")
    assert exported.read_text("utf-8") == out


async def test_everything_is_told_again_where_that_is_wanted(directory: Directory, directory_url: str) -> None:
    client = await directory.client()
    code, _, errors = await run(directory_url, "announce")
    assert (code, errors.split(maxsplit=1)[1]) == (0, "records will be published.\n")
    first, again = await directory.sent_about(f"client/{client}")
    assert isinstance(again, ClientChanged)
    assert again == first


async def test_what_is_wrong_is_said(directory: Directory, directory_url: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    assert await run(directory_url, "import") == (
        1, "", "usage: python -m services.directory [import FILE | export [FILE] | announce]\n"
    )  # fmt: skip
    file.write_text("clients: {shop: {}}\n")
    assert await run(directory_url, "import", str(file)) == (1, "", "directory: clients.shop.name: Field required\n")
    client = await directory.client()
    file.write_text(f"users: {{u-{client}: {{client: {client}, display_name: A, email: a@b.example, office: x}}}}\n")
    assert await run(directory_url, "import", str(file)) == (
        1,
        "",
        "directory: nothing was imported: The client has no such place, or it is closed. (office_not_found) place=x\n",
    )
