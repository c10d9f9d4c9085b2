"""`./dev load`: load tests on a running system, or on one that is started for them."""

import importlib
import json
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, NoReturn
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import typer
import uvloop
from rich.console import Console

from deploy.services import SERVICES
from tools.dev.failure import SetupFailed
from tools.dev.instance import CHECKOUT as FOLDER
from tools.dev.instance import Instance
from tools.dev.servers import database_name
from tools.dev.system import LocalSystem
from tools.load.fill import FillFailed, fill, fill_inbox
from tools.load.made_up import Plan
from tools.load.result import Result
from tools.load.result_tables import show
from tools.load.run import run_ceiling, run_load
from tools.load.scenario import Scenario, all_scenarios
from tools.load.shots import CHECKOUT, CONSOLE
from tools.load.world import World
from tools.screen import Steps

REPORTS: Final = FOLDER / ".dev" / "load"
_ASKED: Final = ("purchases", "customers", "notifications", "errorlog")
_STEP_SECONDS: Final = 10.0
_RUN_SECONDS: Final = 30.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
InstanceName = Annotated[
    str, typer.Option("--instance", envvar="AFTERSALE_INSTANCE", help="Which copy of the system in this checkout.")
]
Keep = Annotated[bool, typer.Option("--keep", help="Leave running what was started; ./dev down stops it.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result for programs.")]


@app.command()
def load(  # noqa: PLR0917 - the options of a command line have names there
    scenario: Annotated[str, typer.Argument(help="What is sent; without it all are listed. `fill` makes data.")] = "",
    rate: Annotated[str | None, typer.Option(help="Messages per second; `max` looks for the ceiling.")] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=1, help="Seconds; of each step of `max`.")] = None,
    start: Annotated[float | None, typer.Option(min=1, help="The first rate of --rate max.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=500, help="Messages per transaction in the services.")] = None,
    keep: Keep = False,
    as_json: AsJson = False,
    purchases: Annotated[int, typer.Option(min=1, help="fill: how many purchases.")] = 1_000_000,
    customers: Annotated[int | None, typer.Option(min=1, help="fill: how many customers; one each without it.")] = None,
    inbox: Annotated[int, typer.Option(min=0, help="fill: how many rows of history in each inbox.")] = 0,
    instance: InstanceName = "main",
) -> None:
    """Send messages at planned times, measure, and prove that nothing was lost or doubled.

    A report with plots is left in .dev/load. Exit code 1 if the proof fails.
    """
    console = Console(stderr=True, highlight=False)
    if not scenario:
        _list(console)
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    if scenario != "fill" and scenario not in all_scenarios():
        raise SetupFailed(f"there is no scenario {scenario}", f"Scenarios: {', '.join(all_scenarios())}, fill.")
    with _system(instance, console, batch=batch, keep=keep) as system, Steps(console) as steps:
        if scenario == "fill":
            _fill(system, steps, purchases, customers or purchases, inbox)
            return
        chosen = all_scenarios()[scenario]
        result = uvloop.run(_run(world_of(system), chosen, steps, rate=rate, seconds=seconds, start=start))
        result.batch = batch
    # Imported here: it brings a plotting library, which takes a second.
    place: Path = importlib.import_module(".report", __package__).write(result, REPORTS)
    if as_json:
        print(json.dumps(result.figures() | {"report": str(place)}, indent=1, ensure_ascii=False))
    else:
        show(Console(highlight=False), result)
        console.print(f"Report: {place / 'report.html'}", soft_wrap=True)
    raise typer.Exit(0 if result.proof.holds else 1)


async def _run(
    world: World, scenario: Scenario, steps: Steps, *, rate: str | None, seconds: float | None, start: float | None
) -> Result:
    if rate == "max":
        return await run_ceiling(
            world, scenario, steps, start=start or scenario.rate / 2, seconds=seconds or _STEP_SECONDS
        )
    try:
        wanted = float(rate) if rate else scenario.rate
    except ValueError:
        wanted = 0.0
    if not wanted > 0:
        raise SetupFailed(f"{rate!r} is no rate", "A number of messages per second, or max.")
    return await run_load(world, scenario, steps, rate=wanted, seconds=seconds or _RUN_SECONDS)


def _fill(system: LocalSystem, steps: Steps, purchases: int, customers: int, inbox: int) -> None:
    if customers > purchases:
        raise SetupFailed("There cannot be more customers than purchases", "Each is made with its first purchase.")
    world = world_of(system)
    plan = Plan(
        purchases=purchases,
        customers=customers,
        prefix=f"F{secrets.token_hex(3)}-",
        client_id=world.client_id,
        salt=secrets.randbits(28),
        until=datetime.now(UTC),
    )
    steps.step(f"Making {purchases:,} purchases of {customers:,} customers; those who use the tables wait meanwhile")
    began = time.monotonic()
    try:
        seconds = fill(world.database_urls, plan, lambda service, done: steps.progress(service, done, purchases))
        if inbox:
            steps.step(f"Giving each inbox {inbox:,} rows of history")
            uvloop.run(fill_inbox(world.database_urls, inbox))
    except (FillFailed, asyncpg.PostgresError, OSError) as error:
        raise SetupFailed(f"The databases cannot be filled: {error}") from error
    words = ", ".join(f"{service} {passed:g} s" for service, passed in seconds.items())
    steps.step(f"Done in {time.monotonic() - began:.0f} s ({words}). Order numbers begin with {plan.prefix}")


@contextmanager
def _system(instance: str, console: Console, *, batch: int | None, keep: bool) -> Iterator[LocalSystem]:
    """The system, running. A size of batches can be had only by services that are started here."""
    system = LocalSystem(Instance(instance), lambda words: console.print(f"    {words}", markup=False, soft_wrap=True))
    if batch is not None:
        if running := [one.name for one in SERVICES if system.instance.processes.find(one.name)]:
            raise SetupFailed(f"--batch is for services that start now, and {running[0]} runs", "./dev down stops it.")
        os.environ.update({f"{service.prefix}BATCH": str(batch) for service in SERVICES})
    console.print("› Starting what is not running: servers, mail catcher, services")
    with system.running(keep=keep) as started:
        console.print(f"    started {', '.join(started)}" if started else "    all of it is running", soft_wrap=True)
        yield system


def world_of(system: LocalSystem) -> World:
    """A running system, as the load sees it."""
    names = {service.name for service in SERVICES}
    return World(
        amqp_urls={peer: system.amqp_url(peer) for peer in (CHECKOUT, CONSOLE)},
        database_urls={name: _database_url(system, name) for name in _ASKED if name in names},
        database_admin_url=system.servers.database_admin_url,
        maildir=Path(system.maildir),
        http_urls=system.http_urls(),
        admin=system.servers.admin,
        vhost=system.servers.vhost,
        pids={process.name: process.pid for process in system.instance.processes.all()},
    )


def _database_url(system: LocalSystem, service: str) -> str:
    """A service's database, as the server's administrator where it is ours."""
    if "postgres" not in system.servers.private():
        return system.database_url(service)
    admin = urlsplit(system.servers.database_admin_url)
    return urlunsplit(admin._replace(path=f"/{database_name(service)}"))


def _list(console: Console) -> None:
    for name, scenario in all_scenarios().items():
        console.print(f"{name:<10} {scenario.summary} ({scenario.rate:g}/s)", markup=False, soft_wrap=True)
    console.print(
        "fill       purchases and customers made up, by COPY (--purchases, --customers, --inbox)", markup=False
    )


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave by the normal way out, so that what was started is stopped."""
    raise SystemExit(128 + number)
