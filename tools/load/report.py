"""A run as files: `report.json` for programs, `report.html` for people, readable without the internet."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tools.load.histogram import Histogram
from tools.load.plots import Points, chart
from tools.load.result import Result, mail_seconds, per_second, reply_seconds
from tools.load.sampling import Sample

_PAGES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PERCENTILES: Final = ["p50", "p90", "p99", "p99.9", "p100"]
_MEBI: Final = 2**20
Row = list[object]


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
    database = figures["database"]
    return _PAGES.get_template("report.html.j2").render(
        result=result,
        summary=_summary(result, figures),
        percentiles=_PERCENTILES,
        latencies=[
            [name, found["count"], *(f"{found[percentile]:.1f}" for percentile in _PERCENTILES)]
            for name, found in figures["latency_ms"].items()
        ],
        steps=list(_steps(result)),
        checks=[
            [one.name, one.expected, one.found, "; ".join(one.wrong) or ("good" if one.holds else "differs")]
            for one in result.proof.checks
        ],
        charts=_charts(result),
        inside=[
            [name, *(f"{found[figure]:g}" for figure in ("count", "mean", "p50", "p99"))]
            for name, found in figures["inside_ms"].items()
        ],
        database=database,
        database_summary=_database_summary(database),
        database_services=list(_database_services(database)),
        database_statements=list(_database_statements(database)),
    )


def _summary(result: Result, figures: dict[str, Any]) -> list[str]:
    machine = figures["machine"]
    return [
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


def _steps(result: Result) -> Iterator[Row]:
    for step in result.steps:
        yield [
            f"{step.rate:g}/s",
            "yes" if step.sustained else step.why,
            f"{step.reply_p99_ms:.0f}",
            step.unanswered,
            step.mails_behind,
            f"{step.drain_seconds:g}",
        ]


def _database_summary(found: dict[str, Any]) -> list[str]:
    words = []
    if "wal_bytes" in found:
        words = [
            f"{found['seconds']:g} s",
            f"{found['transactions']} transactions",
            f"{found['wal_bytes'] / _MEBI:.1f} MiB of write-ahead log",
        ]
    if found["missing"]:
        return [*words, found["missing"]]
    return [
        *words,
        f"{found['statement_ms_per_operation']:g} ms of statements for each message sent",
        "what the services asked, without the flushes of their commits",
    ]


def _database_services(found: dict[str, Any]) -> Iterator[Row]:
    for name, one in found.get("services", {}).items():
        yield [
            name,
            f"{one['share']:.1%}",
            one["statement_ms"],
            one["ms_per_operation"],
            one["calls"],
            one["transactions"],
        ]


def _database_statements(found: dict[str, Any]) -> Iterator[Row]:
    for one in found.get("top", ()):
        yield [one["service"], f"{one['share']:.1%}", one["calls"], f"{one['mean_ms']:g}", one["rows"], one["text"]]


def _charts(result: Result) -> list[str]:
    samples, second, latency = result.samples, "Seconds since the first message", "Latency (ms)"
    percentile = "Percentile of the messages"
    memory = _parts(samples, lambda one: {name: used / _MEBI for name, used in one.memory.items()})
    return [
        chart("Latency over time", _over_time(result), x=second, y=latency, log_y=True),
        chart("Latency by percentile", _percentiles(result), x=percentile, y=latency, log_y=True, percent_x=True),
        chart("Throughput", _throughput(samples), x=second, y="Messages per second"),
        chart("Processor time", _parts(samples, lambda one: one.cpu), x=second, y="Processor cores in use"),
        chart("Memory", memory, x=second, y="Memory (MiB)"),
        chart("Messages in queues", _parts(samples, lambda one: one.queues), x=second, y="Messages waiting"),
        chart("Rows in outboxes", _parts(samples, lambda one: one.outboxes), x=second, y="Rows waiting"),
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
    """The slowest stands half a message before the end, which a scale of nines never reaches."""
    return {
        name: [(min(percent, 100 - 50 / found.count), ms) for percent, ms in found.curve()]
        for name, found in result.latencies().items()
    }


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
