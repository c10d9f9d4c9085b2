"""What people see of the demo: steps and bars while it runs, tables at the end. Plain lines without a terminal."""

import time
from types import TracebackType
from typing import Any, Final, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from tools.demo.memory import Memory
from tools.demo.proof import Row
from tools.demo.run import Summary

_QUIET_SECONDS: Final = 10.0
_MEGABYTE: Final = 1_000_000


class Steps:
    """Steps and progress on standard error, so that standard output is the result alone."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._complete: set[str] = set()
        self._progress = Progress(
            TextColumn("    {task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def step(self, words: str) -> None:
        """Say what is done next."""
        self._console.print(f"[bold]›[/bold] {words}", soft_wrap=True)

    def progress(self, name: str, done: int, total: int) -> None:
        """Say how far it is."""
        if self._console.is_terminal:
            bar = self._bars.get(name)
            if bar is None:
                bar = self._bars[name] = self._progress.add_task(name)
            self._progress.update(bar, completed=done, total=total)
            return
        now = time.monotonic()
        complete = done >= total
        if (complete and name not in self._complete) or now - self._said.setdefault(name, now) > _QUIET_SECONDS:
            self._said[name] = now
            self._console.print(f"    {name}: {done:,} of {total:,}", soft_wrap=True)
        if complete:
            self._complete.add(name)


def show(console: Console, summary: Summary, memory: dict[str, Memory]) -> None:
    """The result for people."""
    _show_example(console, summary.example)
    _show_unused(console, summary)
    _show_proof(console, summary)
    _show_counts(console, summary)
    _show_speed(console, summary, memory)
    _show_verdict(console, summary)


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(
        title=f"\n{title}", title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1)
    )
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _show_example(console: Console, purchase: dict[str, Any] | None) -> None:
    if purchase is None:
        return
    contact = purchase["billing_contact"]
    name = " ".join(part for part in (contact.get("first_name"), contact.get("last_name")) if part)
    table = _table(
        f"For example, purchase {purchase['reference_number']} (invoice {purchase['client_order_id']}) of {name}",
        "when",
    )
    table.add_column("what happened")
    table.add_column("by")
    for entry in reversed(purchase["history"][:20]):
        table.add_row(str(entry["at"])[:19].replace("T", " "), entry["subject"], entry["actor"])
    console.print(table)


def _show_unused(console: Console, summary: Summary) -> None:
    if not (summary.tally.unusable or summary.tally.remarks):
        return
    table = _table(f"Lines of the file: {summary.tally.lines:,}", "not used, because", "")
    for reason, lines in summary.tally.unusable.most_common():
        table.add_row(reason.value, f"{lines:,}")
    for remark, lines in summary.tally.remarks.most_common():
        table.add_row(f"used: {remark}", f"{lines:,}", style="dim")
    console.print(table)


def _show_proof(console: Console, summary: Summary) -> None:
    table = _table("The proof: the same everywhere", "", "sent", "purchases DB", "mail DB", "mail catcher")
    table.add_column("")
    for row in summary.proof.rows:
        figures = [_figure(row, figure) for figure in (row.sent, row.purchases, row.notifications, row.mails)]
        table.add_row(row.name, *figures, "[green]agrees" if row.agrees else "[red]wrong")
    console.print(table)
    for difference in summary.proof.differences:
        examples = ", ".join(difference.examples)
        console.print(f"  {difference.what}: {difference.count:,} ({examples} …)", style="red", markup=False)


def _figure(row: Row, figure: int | None) -> str:
    if figure is None:
        return ""
    return f"{figure / 100:,.2f}" if row.is_money else f"{figure:,}"


def _show_counts(console: Console, summary: Summary) -> None:
    table = _table("The run", "", "count", "already there", "refused")
    counts = {"purchases": summary.purchases, "refunds": summary.refunds, "mails": summary.mails}
    for name, count in counts.items():
        refused = sum(number for code, number in summary.refusals.items() if code.split()[0] == name.removesuffix("s"))
        table.add_row(name, f"{count:,}", f"{summary.already_there.get(name, 0):,}", f"{refused:,}" if refused else "")
    table.add_row("errors in the error log", f"{summary.errors.total():,}")
    console.print(table)
    for words, counter in (("Refused", summary.refusals), ("In the error log", summary.errors)):
        if counter:
            listed = ", ".join(f"{code} {count:,}" for code, count in counter.most_common())
            console.print(f"  {words}: {listed}", markup=False)
    if summary.repeats:
        console.print(f"  Sent again, as no answer had come in time: {summary.repeats:,}")
    if summary.proof.copies:
        console.print(f"  Second copies of a mail under the same Message-ID: {summary.proof.copies:,}")


def _show_speed(console: Console, summary: Summary, memory: dict[str, Memory]) -> None:
    table = _table("Speed and memory", "", "")
    seconds = summary.seconds
    table.add_row("purchases per second", f"{summary.purchases / max(seconds['purchases'], 0.001):,.0f}")
    if summary.refunds:
        table.add_row("refunds per second", f"{summary.refunds / max(seconds['refunds'], 0.001):,.0f}")
    table.add_row("from the first purchase to the last mail", _duration(seconds["to_last_mail"]))
    table.add_row("with the proof", _duration(seconds["total"]))
    for name, used in memory.items():
        peak = f" (at most {used.peak / _MEGABYTE:,.0f} MB)" if used.peak else ""
        table.add_row(f"memory of {name}", f"{used.now / _MEGABYTE:,.0f} MB{peak}")
    console.print(table)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f} s"


def _show_verdict(console: Console, summary: Summary) -> None:
    if not summary.holds:
        console.print("The proof fails: the places above do not agree.", style="bold red")
        return
    purchases, refunds = summary.purchases, summary.refunds
    words = "was sent, what the databases hold and what the mail catcher received agree."
    console.print(f"Proved: {purchases:,} purchases and {refunds:,} refunds; what {words}", style="bold green")
    new = purchases - summary.already_there["purchases"]
    if not new and purchases:
        console.print("Everything was already there from an earlier run; nothing was doubled.")
