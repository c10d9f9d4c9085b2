"""What people see of a load test at its end."""

from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.load.result import Result

_NAMES: Final = ("p50", "p90", "p99", "p99.9", "p100")
_LONGEST_STATEMENTS: Final = 5


def show(console: Console, result: Result) -> None:
    """The result as tables."""
    figures = result.figures()
    latencies = Table(title="Latency from the planned time, ms", title_justify="left")
    latencies.add_column("", overflow="fold")
    for name in ("count", *_NAMES):
        latencies.add_column(name, justify="right")
    for name, found in figures["latency_ms"].items():
        latencies.add_row(name, str(found["count"]), *(f"{found[percentile]:.1f}" for percentile in _NAMES))
    console.print(latencies)
    if result.steps:
        _show_steps(console, result)
    parts = Table(title="Processor time and memory", title_justify="left")
    for heading in ("part", "cores", "MiB"):
        parts.add_column(heading, justify="left" if heading == "part" else "right")
    for name in result.parts():
        memory = figures["memory_mb"].get(name)
        parts.add_row(name, f"{figures['cores'][name]:.2f}", f"{memory:.0f}" if memory else "")
    console.print(parts)
    _show_database(console, figures["database"])
    proof = Table(title="Proof", title_justify="left")
    for heading in ("", "expected", "found", " "):
        proof.add_column(heading, justify="right" if heading in ("expected", "found") else "left", overflow="fold")
    for check in result.proof.checks:
        words = "[green]good" if check.holds else f"[red]{'; '.join(check.wrong) or 'differs'}"
        proof.add_row(check.name, str(check.expected), str(check.found), words)
    console.print(proof)
    console.print(f"{figures['machine']['cores_used_by_others']:g} cores were busy with something else meanwhile.")


def _show_database(console: Console, found: dict[str, Any]) -> None:
    if found["missing"]:
        console.print(found["missing"], markup=False)
        return
    title = f"PostgreSQL: {found['statement_ms_per_operation']:g} ms of statements per message sent; the longest"
    statements = Table(title=title, title_justify="left", expand=True)
    for heading in ("service", "share", "calls", "mean, ms", "rows"):
        statements.add_column(heading, justify="left" if heading == "service" else "right", no_wrap=True)
    statements.add_column("statement", no_wrap=True, overflow="ellipsis", ratio=1)
    for one in found["top"][:_LONGEST_STATEMENTS]:
        statements.add_row(
            one["service"], f"{one['share']:.0%}", str(one["calls"]), f"{one['mean_ms']:.2f}", str(one["rows"]),
            escape(one["text"]),
        )  # fmt: skip
    console.print(statements)


def _show_steps(console: Console, result: Result) -> None:
    steps = Table(title=f"Highest sustained rate: {result.ceiling:g}/s", title_justify="left")
    for heading in ("rate", "sustained", "p99 reply, ms", "mails behind", "seconds to drain"):
        steps.add_column(heading, justify="left" if heading == "sustained" else "right", overflow="fold")
    for step in result.steps:
        steps.add_row(
            f"{step.rate:g}", "yes" if step.sustained else step.why, f"{step.reply_p99_ms:.0f}",
            str(step.mails_behind), f"{step.drain_seconds:g}",
        )  # fmt: skip
    console.print(steps)
