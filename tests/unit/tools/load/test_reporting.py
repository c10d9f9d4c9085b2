"""What was measured stands in the report, and the report needs nothing else."""

import json
from html.parser import HTMLParser
from pathlib import Path

from tools.load import report
from tools.load.plots import chart
from tools.load.proof import Check, Proof
from tools.load.result import Result, Step
from tools.load.sampling import OTHERS, Sample
from tools.load.shots import CONFIRMATION, Ledger, Shot


def shot(planned: float, answered: float | None, *, mailed: float | None = None, code: str | None = None) -> Shot:
    return Shot("refund", "x", b"", mail=CONFIRMATION, planned=planned, answered=answered, mailed=mailed,
                accepted=answered is not None and code is None, code=code)  # fmt: skip


def result(*shots: Shot, holds: bool = True) -> Result:
    samples = [
        Sample(at=1.0, sent=1, answered=0, cpu={"purchases": 0.5, OTHERS: 0.2}, memory={"purchases": 2**20}, queues={}),
        Sample(at=2.0, sent=2, answered=2, mailed=1, cpu={"purchases": 0.7, OTHERS: 0.4}, queues={"a<b": 3},
               memory={"purchases": 3 * 2**20}),
    ]  # fmt: skip
    proof = Proof([Check("purchases", 2, 2 if holds else 1, () if holds else ("1 missing: <A>",))])
    return Result("refund", 10, 2, Ledger("L-", list(shots)), proof, samples)


def test_latency_counts_from_the_planned_time() -> None:
    figures = result(shot(0.0, 0.010), shot(1.0, 1.250, mailed=2.0)).figures()
    assert figures["latency_ms"]["refund: reply"]["p100"] == 250.0
    assert figures["latency_ms"]["refund: mail"] == {"count": 1, "mean": 1000.0} | dict.fromkeys(
        ("p50", "p75", "p90", "p95", "p99", "p99.9", "p100"), 1000.0
    )


def test_what_was_not_answered_is_counted_and_has_no_latency() -> None:
    figures = result(shot(0.0, 0.5), shot(0.1, None, code="no_reply")).figures()
    assert figures["messages"]["refund"] == {"sent": 2, "accepted": 1, "mailed": 0}
    assert figures["latency_ms"]["refund: reply"]["count"] == 1


def test_processor_time_of_others_and_peaks_of_memory_are_told() -> None:
    figures = result(shot(0, 1)).figures()
    assert figures["machine"]["cores_used_by_others"] == 0.3
    assert figures["memory_mb"] == {"purchases": 3.0}


def test_the_ceiling_is_the_highest_rate_that_was_sustained() -> None:
    steps = [
        Step(10, True, "", 5, 0, 0, 1),
        Step(20, False, "9 mails behind", 5, 0, 9, 1),
        Step(15, True, "", 5, 0, 0, 1),
    ]
    found = result(shot(0, 1))
    assert found.ceiling is None
    found.steps = steps
    assert found.ceiling == 15
    found.steps = steps[1:2]
    assert found.ceiling == 0.0


class Page(HTMLParser):
    """Counts what a page holds and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]


def test_the_page_is_complete_in_itself(tmp_path: Path) -> None:
    place = report.write(result(shot(0.0, 0.5, mailed=0.9), shot(1.0, 1.2)), tmp_path)
    page = Page()
    page.feed((place / "report.html").read_text())
    assert page.loads == []
    assert page.tags.count("svg") >= 5
    assert "Nothing was lost or doubled" in (place / "report.html").read_text()
    assert json.loads((place / "report.json").read_text())["holds"] is True


def test_a_failed_proof_is_shown_and_its_text_is_escaped(tmp_path: Path) -> None:
    text = (report.write(result(shot(0, 1), holds=False), tmp_path) / "report.html").read_text()
    assert "The proof failed" in text
    assert "1 missing: &lt;A&gt;" in text
    assert "a&lt;b" in text


def test_a_chart_of_nothing_is_nothing() -> None:
    assert chart("x", {"a": []}, x="s", y="ms") == ""


def test_a_logarithmic_chart_takes_zero() -> None:
    drawn = chart("x", {"a": [(0, 0.0), (1, 250.0)]}, x="s", y="ms", log_y=True)
    assert "nan" not in drawn
    assert "<path" in drawn
