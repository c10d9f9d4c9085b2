"""`./dev demo`: the main job on a file of purchases, on a system of its own if none is running."""

import asyncio
import json
import signal
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer
from pydantic import TypeAdapter
from rich.console import Console

from tools.demo.memory import Memory, memory_of
from tools.demo.reading import FileUnusable, find_files
from tools.demo.result import show
from tools.demo.run import PEER, Place, Summary, run_demo
from tools.dev.failure import SetupFailed
from tools.dev.instance import Instance
from tools.dev.system import LocalSystem
from tools.screen import Steps

SHIPPED: Final = Path(__file__).resolve().parents[1] / "demo" / "purchases.csv"
_SERVICES: Final = ("purchases", "notifications", "errorlog")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def demo(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="*.csv or *.csv.gz with the columns of tools/demo/purchases.csv; a folder; several."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first invoices, cancellations included.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave running what was started; ./dev down stops it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result for programs.")] = False,
    instance: Annotated[
        str, typer.Option("--instance", envvar="AFTERSALE_INSTANCE", help="Which copy of the system in this checkout.")
    ] = "main",
) -> None:
    """Record the purchases of a file, refund what was cancelled, await the mails, and prove that all agree.

    Starts the system if it is not running, and stops what it started. Exit code 1 if the proof fails.
    """
    console = Console(stderr=True, highlight=False)
    try:
        found = find_files(files or [SHIPPED])
    except FileUnusable as unusable:
        raise SetupFailed(str(unusable), "Give a file with the columns of tools/demo/purchases.csv.") from unusable
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    system = LocalSystem(Instance(instance), lambda words: _say(console, words))
    console.print("[bold]›[/bold] Starting what is not running: servers, mail catcher, services")
    with system.running(keep=keep) as started:
        _say(console, f"started {', '.join(started)}" if started else "all of it is running")
        with Steps(console) as steps:
            summary = asyncio.run(run_demo(_place(system), found, steps, limit=limit))
        memory = _memory(system)
    if as_json:
        print(_as_json(summary, memory))
    else:
        show(Console(highlight=False), summary, memory)
    raise typer.Exit(0 if summary.holds else 1)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave by the normal way out, so that what was started is stopped."""
    raise SystemExit(128 + number)


def _say(console: Console, words: str) -> None:
    console.print(f"    {words}", markup=False, soft_wrap=True)


def _place(system: LocalSystem) -> Place:
    return Place(
        amqp_url=system.amqp_url(PEER),
        database_urls={service: system.database_url(service) for service in _SERVICES},
        maildir=system.maildir,
    )


def _memory(system: LocalSystem) -> dict[str, Memory]:
    used = {process.name: memory_of(process.pid) for process in system.instance.processes.all()}
    return {name: memory for name, memory in used.items() if memory is not None}


def _as_json(summary: Summary, memory: dict[str, Memory]) -> str:
    found = TypeAdapter(Summary).dump_python(summary, mode="json") | {
        "holds": summary.holds,
        "memory": {name: asdict(used) for name, used in memory.items()},
    }
    return json.dumps(found, indent=1, ensure_ascii=False)
