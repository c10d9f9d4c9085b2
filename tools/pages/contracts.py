"""`./dev contracts`: what the services promise, as files in git.

Writes the AsyncAPI document of every service, the form of every message and the list of problem codes. With
`--check` nothing is written; whatever differs is named together with what to do about it.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from deploy.services import load_all
from shared.observability.asyncapi import asyncapi_document
from shared.observability.schemas import contracts
from tools.pages.compatibility import breaks
from tools.pages.permissions import permissions_page
from tools.pages.problem_codes import ROOT, problem_codes_page, used_codes
from tools.pages.rights import rights_page

DOCUMENTS: Final = Path("docs/asyncapi")
SCHEMAS: Final = Path("tests/contract/schemas")
CODES: Final = Path("docs/problem-codes.md")
PERMISSIONS: Final = Path("docs/permissions.md")
RIGHTS: Final = Path("docs/rights.md")

BREAKING: Final = """\
A message that others may use already must keep its promise. Leave its class as it was and add a new one under the
next version (`class {name}V2 … key="{key}"`); publish both for one release. Only if nobody can have used it yet:
./dev contracts --accept-breaking"""
OUTDATED: Final = "Run ./dev contracts and commit what it writes."


@dataclass
class Difference:
    """What the files say otherwise than the code."""

    outdated: list[str] = field(default_factory=list)
    broken: dict[str, list[str]] = field(default_factory=dict)
    """Broken promises by routing key."""

    def __bool__(self) -> bool:
        return bool(self.outdated or self.broken)


def promised() -> dict[Path, str]:
    """Every file as the code wants it, relative to the root of the project."""
    files = {DOCUMENTS / f"{service.name}.json": _text(asyncapi_document(service)) for service in load_all()}
    files |= {SCHEMAS / f"{one.message.key}.json": _text(one.snapshot()) for one in contracts()}
    files[CODES] = problem_codes_page(used_codes())
    files[PERMISSIONS] = permissions_page()
    files[RIGHTS] = rights_page(ROOT)
    return files


def difference(root: Path, wanted: Mapping[Path, str]) -> Difference:
    """Compare the files under a folder with what the code promises."""
    found = Difference()
    for path, text in wanted.items():
        file = root / path
        if not file.exists():
            found.outdated.append(f"{path} is missing")
        elif file.read_text(encoding="utf-8") != text:
            found.outdated.append(f"{path} is not up to date")
            if path.parent == SCHEMAS and (faults := breaks(json.loads(file.read_text("utf-8")), json.loads(text))):
                found.broken[path.stem] = faults
    for path in _leftovers(root, wanted):
        found.outdated.append(f"{path} belongs to nothing any more")
        if path.parent == SCHEMAS:
            found.broken[path.stem] = ["the message is gone"]
    return found


def write(root: Path, wanted: Mapping[Path, str]) -> None:
    """Make the files say what the code promises."""
    for path, text in wanted.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    for path in _leftovers(root, wanted):
        (root / path).unlink()


def instructions(found: Difference) -> str:
    """What is different, and what to do about it."""
    lines = [f"- {fault}" for fault in found.outdated]
    for key, faults in sorted(found.broken.items()):
        lines += [f"BREAKING {key}:", *(f"  - {fault}" for fault in faults)]
    if found.broken:
        lines.append(BREAKING.format(name="Message", key=_next_version(min(found.broken))))
    else:
        lines.append(OUTDATED)
    return "\n".join(lines)


def main(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if something differs.")] = False,
    accept_breaking: Annotated[
        bool, typer.Option("--accept-breaking", help="Write even if a promise is broken that nobody relies on.")
    ] = False,
) -> None:
    """Write the AsyncAPI documents, the forms of the messages and the list of problem codes."""
    wanted = promised()
    found = difference(ROOT, wanted)
    if found and (check or (found.broken and not accept_breaking)):
        typer.echo(instructions(found), err=True)
        sys.exit(1)
    if found:
        write(ROOT, wanted)
    typer.echo(
        f"{len(wanted)} files, {len(found.outdated)} changed" if found else f"{len(wanted)} files are up to date"
    )


def _leftovers(root: Path, wanted: Mapping[Path, str]) -> list[Path]:
    present = {file.relative_to(root) for folder in (DOCUMENTS, SCHEMAS) for file in (root / folder).glob("*.json")}
    return sorted(present - set(wanted))


def _next_version(key: str) -> str:
    name, _, version = key.rpartition(".v")
    return f"{name}.v{int(version) + 1}"


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    typer.run(main)
