"""A run as files: `report.json` for programs, `report.html` for people, readable without the internet."""

import html
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tools.load.histogram import Histogram
from tools.load.plots import Points, chart
from tools.load.result import Result, mail_seconds, per_second, reply_seconds
from tools.load.sampling import Sample

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #656d76; --line: #d0d7de; --page: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --page: #0d1117; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 900px; padding: 0 1rem; }
table { border-collapse: collapse; margin: .6rem 0 1.6rem; width: 100%; }
td, th { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
td:first-child, th:first-child { text-align: left; }
svg { width: 100%; margin: .4rem 0 1rem; font: 11px system-ui, sans-serif; fill: var(--ink); }
svg .title { font-size: 14px; font-weight: 600; } svg .grid { stroke: var(--line); }
.good { color: #1a7f37; } .bad { color: #d1242f; } .soft { color: var(--soft); }
"""
_NAMES: Final = ("p50", "p90", "p99", "p99.9", "p100")


def write(result: Result, folder: Path) -> Path:
    """Write the report into a new folder below `folder`; returns it."""
    place = folder / f"{result.at:%Y%m%d-%H%M%S}-{result.scenario}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "report.json").write_text(json.dumps(result.figures(), indent=1, ensure_ascii=False) + "\n")
    (place / "report.html").write_text(page(result))
    return place


def page(result: Result) -> str:
    """The report as a page that needs nothing else."""
    figures = result.figures()
    title = f"Load: {result.scenario}"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _summary(result),
        _latency_table(figures),
        _steps_table(result),
        _proof_table(result),
        *_charts(result),
        _inside_table(figures),
        _database_tables(figures["database"]),
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _summary(result: Result) -> str:
    figures = result.figures()
    machine = figures["machine"]
    words = [
        f"{result.at:%d %b %Y %H:%M} UTC",
        f"{result.rate:g}/s" if result.ceiling is None else f"highest sustained rate {result.ceiling:g}/s",
        f"{result.seconds:g} s",
        f"{len(result.ledger.shots)} messages",
        f"batches of {result.batch}" if result.batch else "batches as set",
        f"{machine['cpus']} processors, {machine['cores_used_by_others']} of them busy with something else",
        f"baskets: {result.baskets}",
        f"the generator was at most {figures['generator_late_ms']:g} ms late",
        f"last mail {figures['drained_after']:g} s after the last message",
    ]
    verdict = (
        '<b class="good">Nothing was lost or doubled.</b>'
        if result.proof.holds
        else '<b class="bad">The proof failed.</b>'
    )
    return f'<p>{verdict} <span class="soft">{html.escape(" · ".join(words))}</span></p>'


def _latency_table(figures: dict[str, Any]) -> str:
    rows = [
        [name, found["count"], *(f"{found[percentile]:.1f}" for percentile in _NAMES)]
        for name, found in figures["latency_ms"].items()
    ]
    return "<h2>Latency from the planned time, ms</h2>" + table(["", "count", *_NAMES], rows)


def _steps_table(result: Result) -> str:
    if not result.steps:
        return ""
    rows = [
        [
            f"{step.rate:g}/s",
            "yes" if step.sustained else step.why,
            f"{step.reply_p99_ms:.0f}",
            step.unanswered,
            step.mails_behind,
            f"{step.drain_seconds:g}",
        ]
        for step in result.steps
    ]
    heads = ["rate", "sustained", "p99 reply, ms", "unanswered", "mails behind", "seconds to drain"]
    return "<h2>Search for the ceiling</h2>" + table(heads, rows)


def _proof_table(result: Result) -> str:
    rows = [
        [check.name, check.expected, check.found, "; ".join(check.wrong) or ("good" if check.holds else "differs")]
        for check in result.proof.checks
    ]
    return "<h2>Proof</h2>" + table(["", "expected", "found", ""], rows)


def _inside_table(figures: dict[str, Any]) -> str:
    rows = [
        [name, f"{found['count']:g}", f"{found['mean']:g}", f"{found['p50']:g}", f"{found['p99']:g}"]
        for name, found in figures["inside_ms"].items()
    ]
    words = "From receiving a message to its commit, by the services' own histograms: exact to a bucket."
    heads = ["handler", "count", "mean", "p50", "p99"]
    return f'<h2>Within the services, ms</h2><p class="soft">{words}</p>{table(heads, rows)}'


def _database_tables(found: dict[str, Any]) -> str:
    title = "<h2>PostgreSQL</h2>"
    words = []
    if "wal_bytes" in found:
        words = [
            f"{found['seconds']:g} s",
            f"{found['transactions']} transactions",
            f"{found['wal_bytes'] / 2**20:.1f} MiB of write-ahead log",
        ]
    if found["missing"]:
        return f'{title}<p class="soft">{html.escape(" · ".join([*words, found["missing"]]))}</p>'
    words.append(f"{found['statement_ms_per_operation']:g} ms of statements for each message sent")
    words.append("what the services asked, without the flushes of their commits")
    services = [
        [
            service,
            f"{one['share']:.1%}",
            one["statement_ms"],
            one["ms_per_operation"],
            one["calls"],
            one["transactions"],
        ]
        for service, one in found["services"].items()
    ]
    longest = [
        [one["service"], f"{one['share']:.1%}", one["calls"], f"{one['mean_ms']:g}", one["rows"], one["text"]]
        for one in found["top"]
    ]
    return (
        f'{title}<p class="soft">{html.escape(" · ".join(words))}</p>'
        + table(["service", "share", "ms", "ms per message sent", "calls", "transactions"], services)
        + table(["service", "share", "calls", "mean, ms", "rows", "statement"], longest)
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; every text is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _charts(result: Result) -> list[str]:
    samples, mebi = result.samples, 2**20
    return [
        chart("Latency over time", _over_time(result), x="seconds", y="ms", log_y=True),
        chart("Percentiles", _percentiles(result), x="percent of messages", y="ms", log_y=True),
        chart("Throughput", _throughput(samples), x="seconds", y="per second"),
        chart("Processor time", _parts(samples, lambda one: one.cpu), x="seconds", y="cores"),
        chart(
            "Memory",
            _parts(samples, lambda one: {name: used / mebi for name, used in one.memory.items()}),
            x="seconds",
            y="MiB",
        ),
        chart("Messages in queues", _parts(samples, lambda one: one.queues), x="seconds", y="messages"),
        chart("Rows in outboxes", _parts(samples, lambda one: one.outboxes), x="seconds", y="rows"),
    ]


def _over_time(result: Result) -> dict[str, Points]:
    lines: dict[str, list[tuple[float, float]]] = {"reply p50": [], "reply p99": [], "mail p50": [], "mail p99": []}
    for second, shots in per_second(result.ledger.shots).items():
        for name, durations in (("reply", reply_seconds(shots)), ("mail", mail_seconds(shots))):
            if durations:
                found = Histogram.of(durations)
                for percent in (50, 99):
                    lines[f"{name} p{percent}"].append((second, found.percentile(percent) * 1000))
    return dict(lines)


def _percentiles(result: Result) -> dict[str, Points]:
    return {name: found.curve() for name, found in result.latencies().items()}


def _throughput(samples: Sequence[Sample]) -> dict[str, Points]:
    lines: dict[str, list[tuple[float, float]]] = {"sent": [], "answered": [], "mails sent": []}
    for before, after in pairwise(samples):
        passed = max(1e-3, after.at - before.at)
        for name, count in (
            ("sent", after.sent - before.sent),
            ("answered", after.answered - before.answered),
            ("mails sent", after.mailed - before.mailed),
        ):
            lines[name].append((after.at, max(0, count) / passed))
    return dict(lines)


def _parts(samples: Sequence[Sample], of: "Callable[[Sample], dict[str, Any]]") -> dict[str, Points]:
    names = sorted({name for sample in samples for name in of(sample)})
    found = {name: [(sample.at, float(of(sample).get(name, 0))) for sample in samples] for name in names}
    return {name: points for name, points in found.items() if any(value for _, value in points)}
