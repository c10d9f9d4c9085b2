"""The commands of `./dev`."""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from deploy import services
from deploy.definitions import TEMPLATE, template
from deploy.services import SERVICES, Deployed
from tools.dev import checks, directory, peers
from tools.dev.failure import SetupFailed
from tools.dev.instance import CHECKOUT, Instance
from tools.dev.system import SUPERVISOR, LocalSystem, topology_of

app = typer.Typer(
    help="Everything that is needed to run, test and look into Aftersale on one machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(peers.app, name="peer")
app.add_typer(directory.app, name="directory")
app.command("lint")(checks.lint)
_FOR_PYTEST: Final = {"allow_extra_args": True, "ignore_unknown_options": True}
app.command("test", context_settings=_FOR_PYTEST)(checks.run_tests)
app.command("chaos", context_settings=_FOR_PYTEST)(checks.chaos)

InstanceName = Annotated[
    str, typer.Option("--instance", envvar="AFTERSALE_INSTANCE", help="Which copy of the system in this checkout.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
_STATES: Final = {"ready": "green", "running": "green", "used": "green", "not ready": "yellow", "stopped": "red"}
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Tell what is going on, beside the output that a program may read."""
    errors.print(text, markup=False)


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return as soon as everything is ready.")] = False,
    queries_apart: Annotated[
        bool, typer.Option("--queries-apart", help="Queries of purchases and customers in processes of their own.")
    ] = False,
    as_json: AsJson = False,
    instance: InstanceName = "main",
) -> None:
    """Set up and start the whole system; Ctrl-C or `./dev down` stops it."""
    system = LocalSystem(Instance(instance), say)
    supervisor = system.instance.processes.find(SUPERVISOR)
    started = system.up(queries_apart=queries_apart)
    _show(system, as_json=as_json)
    if supervisor is not None or not started:
        say("It was running already; ./dev down stops it.")
    elif not detach:
        _watch(system)


def _watch(system: LocalSystem) -> None:
    """Stay in the foreground, start again what crashes, and stop everything at the end."""
    end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: end.set())
    processes = system.instance.processes
    processes.note(SUPERVISOR, os.getpid())
    try:
        say("Running. Ctrl-C stops it.")
        system.watch(end)
    finally:
        say("Stopping")
        processes.forget(SUPERVISOR)
        system.down()


@app.command()
def down(instance: InstanceName = "main") -> None:
    """Stop what `./dev up` started, and nothing else. Data stay."""
    stopped = LocalSystem(Instance(instance), say).down() if Instance.exists(instance) else []
    console.print(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing was running.")


@app.command()
def status(as_json: AsJson = False, instance: InstanceName = "main") -> None:
    """Show what runs where. Exit code 1 unless everything is up."""
    system = LocalSystem(Instance(instance), say)
    if not _show(system, as_json=as_json):
        raise typer.Exit(1)


@app.command()
def provision(instance: InstanceName = "main") -> None:
    """Make databases, queues, users and rights again, as services and peers file say. The system must be up."""
    LocalSystem(Instance(instance), say).provision()
    console.print("Broker and databases are as this release wants them.")


@app.command()
def migrate(
    service: Annotated[str | None, typer.Argument(help="One service; all without it.")] = None,
    instance: InstanceName = "main",
) -> None:
    """Bring the services' databases to this release. The system must be up."""
    chosen = SERVICES if service is None else (_deployed(service),)
    LocalSystem(Instance(instance), say).migrate(chosen)
    console.print(f"Migrated: {', '.join(deployed.name for deployed in chosen)}")


@app.command()
def migration(
    service: Annotated[str, typer.Argument(help="Whose tables have changed.")],
    words: Annotated[str, typer.Argument(help='What changes, such as "purchases have coupons".')],
    instance: InstanceName = "main",
) -> None:
    """Draft the migration that brings a service's tables to its models.py. The system must be up."""
    # Imported here: the whole service, and Alembic.
    declared = services.load(_deployed(service).name)
    write = importlib.import_module("tools.dev.migration").write_migration
    url = LocalSystem(Instance(instance), say).database_url(service)
    file = write(declared.package, declared.tables.metadata, url, words)
    console.print(f"{file.relative_to(CHECKOUT)} written: read it, and complete what Alembic cannot see")


@app.command()
def contracts(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is out of date.")] = False,
    accept_breaking: Annotated[
        bool, typer.Option("--accept-breaking", help="Write even if a promise is broken that nobody relies on.")
    ] = False,
) -> None:
    """Write what is made from the code: AsyncAPI, forms of messages, broker definitions, .env.example."""
    # Imported here: all services with all they need.
    environment = importlib.import_module("tools.pages.environment")
    wanted = {TEMPLATE: template(topology_of(CHECKOUT)), environment.FILE: environment.example()}
    outdated = [file for file, text in wanted.items() if not file.exists() or file.read_text() != text]
    for file in outdated:
        console.print(f"{file.relative_to(CHECKOUT)} {'is out of date' if check else 'written'}")
        if not check:
            file.parent.mkdir(exist_ok=True)
            file.write_text(wanted[file])
    importlib.import_module("tools.pages.contracts").main(check=check, accept_breaking=accept_breaking)
    if check and outdated:
        raise SetupFailed("These files do not say what the code says", "Run ./dev contracts and commit what it writes.")


@app.command()
def logs(
    part: Annotated[str | None, typer.Argument(help="A service, postgres, rabbitmq or mailcatcher.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0)] = 50,
    instance: InstanceName = "main",
) -> None:
    """Show the end of the logs."""
    folder = Instance(instance).folder / "logs"
    files = sorted(folder.glob(f"{part or '*'}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        raise SetupFailed(f"there is no log of {part or 'anything'}", f"Logs: {known}.")
    if follow:
        tail = subprocess.run(["tail", "-n", str(lines), "-F", *files], check=False)
        raise typer.Exit(tail.returncode)
    for file in files:
        if len(files) > 1:
            console.print(f"==> {file.stem}", style="bold", markup=False)
        with file.open(errors="replace") as opened:
            sys.stdout.writelines(deque(opened, maxlen=lines))


def _deployed(service: str) -> Deployed:
    for deployed in SERVICES:
        if deployed.name == service:
            return deployed
    raise SetupFailed(f"there is no service {service}", f"Services: {', '.join(s.name for s in SERVICES)}.")


def _show(system: LocalSystem, *, as_json: bool) -> bool:
    parts = system.parts()
    if as_json:
        print(json.dumps([asdict(part) for part in parts], indent=1))
    elif console.is_terminal:
        table = Table(title=f"Aftersale ({system.instance.name})", title_justify="left")
        for heading in ("part", "address", "state", "pid"):
            table.add_column(heading, overflow="fold")
        for part in parts:
            state = f"[{_STATES[part.state]}]{part.state}"
            table.add_row(part.name, part.address, state, str(part.pid or ""))
        console.print(table, soft_wrap=False)
    else:
        for part in parts:
            print(f"{part.name:<14} {part.state:<10} {part.address}")
    return all(part.state in ("ready", "running", "used") for part in parts)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def demo(context: typer.Context) -> None:
    """The main job on a file of purchases: recorded, refunded, mailed, proved."""
    # Imported here: only the demo needs what it imports.
    importlib.import_module("tools.dev.demo").app(args=context.args, prog_name="./dev demo")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def load(context: typer.Context) -> None:
    """Load tests: messages at planned times, latencies, a proof that nothing was lost, a report with plots."""
    # Imported here: only load tests need what it imports.
    importlib.import_module("tools.load.cli").app(args=context.args, prog_name="./dev load")


def main() -> None:
    """Run a command. What cannot be set up is said in two lines and without a stack trace."""
    try:
        app(prog_name="./dev")
    except SetupFailed as failure:
        errors.print(failure.what, style="bold red", markup=False)
        if failure.hint:
            say(failure.hint)
        raise SystemExit(1) from None
