"""`./dev lint` and `./dev test`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from tools.dev.instance import CHECKOUT
from tools.dev.leftovers import remove_leftovers

_PYTHON: Final = ("services", "shared", "deploy", "tools", "tests", "benchmarks")
_TOOLS: Final = Path(sys.executable).parent


def lint(
    fix: Annotated[bool, typer.Option(help="Mend what can be mended by itself.")] = False,
) -> None:
    """Check style, types, imports between services, and ./dev itself."""
    mend = ["--fix"] if fix else []
    check = [] if fix else ["--check"]
    failed = [
        name
        for name, command in (
            ("ruff check", [_tool("ruff"), "check", *mend, "."]),
            ("ruff format", [_tool("ruff"), "format", *check, "."]),
            ("mypy", [_tool("mypy"), *_PYTHON]),
            ("import-linter", [_tool("lint-imports"), "--no-cache"]),
            ("shellcheck", [_tool("shellcheck"), "dev", ".ci/run"]),
            ("contracts", [sys.executable, "-m", "tools.dev", "contracts", "--check"]),
        )
        if not _passes(name, command)
    ]
    if failed:
        typer.echo(f"Failed: {', '.join(failed)}")
        raise typer.Exit(1)
    typer.echo("All checks passed.")


def test(context: typer.Context) -> None:
    """Run the tests on private servers of their own; arguments go to pytest."""
    remove_leftovers(CHECKOUT)
    done = subprocess.run([sys.executable, "-m", "pytest", *context.args], cwd=CHECKOUT, check=False)
    raise typer.Exit(done.returncode)


def chaos(context: typer.Context) -> None:
    """Let the broker and the database go away for half a minute each, under load; arguments go to pytest."""
    remove_leftovers(CHECKOUT)
    command = [sys.executable, "-m", "pytest", "tests/chaos", "-v", *context.args]
    environment = {"AFTERSALE_OUTAGE_SECONDS": "30"} | os.environ
    raise typer.Exit(subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode)


def _passes(name: str, command: Sequence[str]) -> bool:
    typer.echo(f"--- {name}")
    return subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _tool(name: str) -> str:
    beside = _TOOLS / name
    return str(beside) if beside.exists() else shutil.which(name) or name
