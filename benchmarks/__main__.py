"""`python -m benchmarks one-hop | mails | memory | inbox | faststream-parts`: figures and ratios of one run."""

import fcntl
import json
import os
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import faststream_parts as parts_bench
from benchmarks import inbox_growth as inbox_bench
from benchmarks import mails as mail_bench
from benchmarks import memory as memory_bench
from benchmarks import one_hop as hop_bench
from benchmarks.bounds import fallen
from tools.dev.instance import CHECKOUT

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 if a ratio is below its bound.")]
console = Console(stderr=True, highlight=False)
_alone = (CHECKOUT / ".dev" / "benchmarks.lock").open("w")


@app.callback()
def only_one() -> None:
    """Figures and ratios of one run. Two runs at once would share servers, and disturb each other anyway."""
    try:
        fcntl.flock(_alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        console.print("Another benchmark is running in this checkout.")
        raise typer.Exit(1) from None


@app.command()
def one_hop(  # noqa: PLR0917 - the options of a command line have names there
    count: Annotated[int, typer.Option(min=100, help="Messages of the rush.")] = 3000,
    rounds: Annotated[int, typer.Option(min=1)] = 2,
    rate: Annotated[float, typer.Option(min=1, help="Messages per second for the latencies.")] = 100,
    latencies: Annotated[int, typer.Option(min=10, help="Messages for the latencies.")] = 500,
    as_json: AsJson = False,
    check: Check = False,
) -> None:
    """Command, inbox, change, outbox, relay, listener: our plumbing against hand-written floors."""
    found = hop_bench.run(count, rounds, rate, latencies, _say)
    table = Table("", "per second", "p50 ms", "p99 ms")
    for one in found["contestants"]:
        table.add_row(one["name"], f"{one['median']:.0f}", str(one["p50_ms"]), str(one["p99_ms"]))
    _finish(found, table, as_json=as_json, check=check)


@app.command()
def mails(
    count: Annotated[int, typer.Option(min=50, help="Mails of each round.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1)] = 2,
    as_json: AsJson = False,
    check: Check = False,
) -> None:
    """Mails handed to the local SMTP server: the dispatcher against bare aiosmtplib."""
    found = mail_bench.run(count, rounds, _say)
    table = Table("", "per second")
    for name in ("bare aiosmtplib", "dispatcher"):
        table.add_row(name, ", ".join(f"{one:.0f}" for one in found["per_second"][name]))
    _finish(found, table, as_json=as_json, check=check)


@app.command()
def memory(
    seconds: Annotated[float, typer.Option(min=1, help="Idle time before the look.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Memory of idle services against an empty FastStream process, and how long they take to be ready."""
    found = memory_bench.run(seconds, _say)
    table = Table("process", "MiB", "ratio")
    for name, used in found["memory_mib"].items():
        table.add_row(name, f"{used:.1f}", f"{found['ratios'].get(name, 1.0):.2f}")
    _finish(found, table, as_json=as_json)


@app.command()
def inbox(
    rows: Annotated[list[int], typer.Option(min=1000, help="How many rows, from few to many.")] = [10_000, 1_000_000],  # noqa: B006 - what typer takes for several values
    forget: Annotated[int, typer.Option(min=1000, help="With so many rows, as many more are to be forgotten.")] = 10**6,
    as_json: AsJson = False,
) -> None:
    """The inbox as it grows: batches of messages, and forgetting them, in our table and in others. Takes 5 GB."""
    found = inbox_bench.run(rows, forget, _say)
    table = Table("rows", "design", "ids", "p50 ms", "server ms", "WAL bytes")
    for count, designs in found["rows"].items():
        for design, kinds in designs.items():
            for kind, one in kinds.items():
                table.add_row(count, design, kind, str(one["p50"]), str(one["server_ms"]), str(one["wal_bytes"]))
    forgetting = Table("forgetting", "seconds", "MB of WAL", "round that finds nothing, ms", "batch meanwhile, p99 ms")
    for design, one in found["forgetting"].items():
        meanwhile = str(one["batch_ms_meanwhile"]["p99"])
        megabytes, nothing = f"{one['wal_bytes'] / 1e6:.0f}", str(one["round_that_finds_nothing_ms"])
        forgetting.add_row(design, str(one["seconds"]), megabytes, nothing, meanwhile)
    console.print(forgetting)
    _finish(found, table, as_json=as_json)


@app.command()
def faststream_parts(
    count: Annotated[int, typer.Option(min=500, help="Messages of each consumer in each turn.")] = 2000,
    rounds: Annotated[int, typer.Option(min=1)] = 4,
    as_json: AsJson = False,
) -> None:
    """What each part of FastStream costs a message, used or not, and what that is of our whole hop."""
    found = parts_bench.run(count, rounds, _say)
    table = Table("", "µs of processor", "µs", "without it", "ratio", "more µs of processor", "% of a hop")
    for name, part in found["parts"].items():
        own = (str(part["cpu_us"]), str(part["us"]), part["without"] or "–")
        compared = (str(part.get(key, "–")) for key in ("ratio", "more_cpu_us", "percent_of_hop"))
        table.add_row(name, *own, *compared)
    console.print(f"our hop: {found['hop_cpu_us']} µs of processor time", found["apps"], found["documents"])
    _finish(found, table, as_json=as_json)


def _say(words: str) -> None:
    console.print(words, markup=False, soft_wrap=True)


def _finish(found: dict[str, Any], table: Table, *, as_json: bool, check: bool = False) -> None:
    found["load_average"] = [round(load, 2) for load in os.getloadavg()]
    if as_json:
        print(json.dumps(found, indent=1))  # noqa: T201 - this is a command
    else:
        out = Console(highlight=False)
        out.print(table)
        for name, ratio in found["ratios"].items():
            out.print(f"{name}: {ratio}")
    if check and (slower := fallen(found["ratios"])):
        for words in slower:
            _say(words)
        sys.exit(1)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
