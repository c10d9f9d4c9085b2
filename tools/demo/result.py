"""What people see of the demo at its end."""

from typing import Any, Final

from rich.console import Console

from tools.demo.memory import Memory
from tools.demo.proof import Row
from tools.demo.run import Summary
from tools.screen import table

_MEGABYTE: Final = 1_000_000


def show(console: Console, summary: Summary, memory: dict[str, Memory]) -> None:
    """The result for people."""
    _show_example(console, summary.example)
    _show_unused(console, summary)
    _show_proof(console, summary)
    _show_counts(console, summary)
    _show_speed(console, summary, memory)
    _show_verdict(console, summary)


def _show_example(console: Console, purchase: dict[str, Any] | None) -> None:
    if purchase is None:
        return
    contact = purchase["billing_contact"]
    name = " ".join(part for part in (contact.get("first_name"), contact.get("last_name")) if part)
    found = table(
        f"For example, purchase {purchase['reference_number']} (invoice {purchase['client_order_id']}) of {name}",
        "when",
    )
    found.add_column("what happened")
    found.add_column("by")
    for entry in reversed(purchase["history"][:20]):
        found.add_row(str(entry["at"])[:19].replace("T", " "), entry["subject"], entry["actor"])
    console.print(found)


def _show_unused(console: Console, summary: Summary) -> None:
    if not (summary.tally.unusable or summary.tally.remarks):
        return
    found = table(f"Lines of the file: {summary.tally.lines:,}", "not used, because", "")
    for reason, lines in summary.tally.unusable.most_common():
        found.add_row(reason.value, f"{lines:,}")
    for remark, lines in summary.tally.remarks.most_common():
        found.add_row(f"used: {remark}", f"{lines:,}", style="dim")
    console.print(found)


def _show_proof(console: Console, summary: Summary) -> None:
    found = table("The proof: the same everywhere", "", "sent", "purchases DB", "mail DB", "mail catcher")
    found.add_column("")
    for row in summary.proof.rows:
        figures = [_figure(row, figure) for figure in (row.sent, row.purchases, row.notifications, row.mails)]
        found.add_row(row.name, *figures, "[green]agrees" if row.agrees else "[red]wrong")
    console.print(found)
    for difference in summary.proof.differences:
        examples = ", ".join(difference.examples)
        console.print(f"  {difference.what}: {difference.count:,} ({examples} …)", style="red", markup=False)


def _figure(row: Row, figure: int | None) -> str:
    if figure is None:
        return ""
    return f"{figure / 100:,.2f}" if row.is_money else f"{figure:,}"


def _show_counts(console: Console, summary: Summary) -> None:
    found = table("The run", "", "count", "already there", "refused")
    counts = {"purchases": summary.purchases, "refunds": summary.refunds, "mails": summary.mails}
    for name, count in counts.items():
        refused = sum(number for code, number in summary.refusals.items() if code.split()[0] == name.removesuffix("s"))
        found.add_row(name, f"{count:,}", f"{summary.already_there.get(name, 0):,}", f"{refused:,}" if refused else "")
    found.add_row("errors in the error log", f"{summary.errors.total():,}")
    console.print(found)
    for words, counter in (("Refused", summary.refusals), ("In the error log", summary.errors)):
        if counter:
            listed = ", ".join(f"{code} {count:,}" for code, count in counter.most_common())
            console.print(f"  {words}: {listed}", markup=False)
    if summary.repeats:
        console.print(f"  Sent again, as no answer had come in time: {summary.repeats:,}")
    if summary.proof.copies:
        console.print(f"  Second copies of a mail under the same Message-ID: {summary.proof.copies:,}")


def _show_speed(console: Console, summary: Summary, memory: dict[str, Memory]) -> None:
    found = table("Speed and memory", "", "")
    seconds = summary.seconds
    found.add_row("purchases per second", f"{summary.purchases / max(seconds['purchases'], 0.001):,.0f}")
    if summary.refunds:
        found.add_row("refunds per second", f"{summary.refunds / max(seconds['refunds'], 0.001):,.0f}")
    found.add_row("from the first purchase to the last mail", _duration(seconds["to_last_mail"]))
    found.add_row("with the proof", _duration(seconds["total"]))
    for name, used in memory.items():
        peak = f" (at most {used.peak / _MEGABYTE:,.0f} MB)" if used.peak else ""
        found.add_row(f"memory of {name}", f"{used.now / _MEGABYTE:,.0f} MB{peak}")
    console.print(found)


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
