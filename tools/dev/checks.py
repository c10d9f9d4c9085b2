"""`./dev lint` and `./dev test`."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from tools.dev.instance import CHECKOUT
from tools.dev.leftovers import remove_leftovers
from tools.dev.selection import touched_by, workers_for

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


def run_tests(
    context: typer.Context,
    changed: Annotated[
        bool,
        typer.Option(
            "--changed",
            help="Only what can be touched by the commits since the branch left its upstream (origin/main where it has "
            "none) and by files not committed yet: of a service's folder its tests, of shared code all but chaos and "
            "end to end; contracts and architecture always.",
        ),
    ] = False,
) -> None:
    """Run the tests on private servers of their own, side by side where that is sooner; arguments go to pytest."""
    arguments, tests = list(context.args), test_files(CHECKOUT)
    if changed:
        touched = touched_by(changed_files(CHECKOUT), tests)
        if not touched:
            typer.echo("Nothing has changed: no test was run.")
            return
        arguments += touched
    if not any(argument.startswith(("-n", "--numprocesses")) for argument in arguments):
        arguments += side_by_side(workers_for(arguments, tests))
    raise typer.Exit(_run_pytest(arguments, os.environ))


def chaos(context: typer.Context) -> None:
    """Let the broker and the database go away for half a minute each, under load; arguments go to pytest."""
    environment = {"AFTERSALE_OUTAGE_SECONDS": "30"} | os.environ
    raise typer.Exit(_run_pytest(["tests/chaos", "-v", *context.args], environment))


def test_files(checkout: Path) -> set[str]:
    """Every test file, by its path from the checkout's root."""
    return {file.relative_to(checkout).as_posix() for file in (checkout / "tests").rglob("test_*.py")}


def changed_files(checkout: Path) -> list[str]:
    """What was changed since the branch left its upstream, committed or not, and files that git does not know yet."""
    base = next((found for name in ("@{upstream}", "origin/main", "HEAD") if (found := _fork(checkout, name))), "HEAD")
    changed = _git(checkout, "diff", "--name-only", "--no-renames", base)
    return changed + _git(checkout, "ls-files", "--others", "--exclude-standard")


def side_by_side(workers: int) -> list[str]:
    """pytest's options for workers that each take whole files, in the order of tests/support/order.py."""
    return ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"] if workers else []


def _run_pytest(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run pytest to its end, and end what it could not: returns an exit code as a shell tells it.

    Ctrl-C in a terminal reaches pytest by itself, which then needs its time to take down the servers.
    """
    remove_leftovers(CHECKOUT)
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=CHECKOUT, env=environment, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
        remove_leftovers(CHECKOUT)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _fork(checkout: Path, name: str) -> str:
    """The commit that the branch has in common with another; "" where there is no such other."""
    return "".join(_git(checkout, "merge-base", "HEAD", name))


def _git(checkout: Path, *words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=checkout, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def _passes(name: str, command: Sequence[str]) -> bool:
    typer.echo(f"--- {name}")
    return subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _tool(name: str) -> str:
    beside = _TOOLS / name
    return str(beside) if beside.exists() else shutil.which(name) or name
