"""What a run has shown, ready to be written down."""

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from tools.load.histogram import Histogram
from tools.load.proof import Proof
from tools.load.sampling import OTHERS, Sample
from tools.load.shots import Ledger, Shot
from tools.load.statements import NOT_COUNTED

REPLY = "reply"
MAIL = "mail"


@dataclass(frozen=True)
class Step:
    """One rate of a search for the ceiling."""

    rate: float
    sustained: bool
    why: str
    reply_p99_ms: float
    unanswered: int
    """Without a reply when the step ended."""
    mails_behind: int
    drain_seconds: float


@dataclass
class Result:
    """A run, with all its figures."""

    scenario: str
    rate: float
    seconds: float
    ledger: Ledger
    proof: Proof
    samples: list[Sample] = field(default_factory=list)
    inside: dict[str, dict[str, float]] = field(default_factory=dict)
    """Milliseconds within the services, by handler."""
    database: dict[str, Any] = field(default_factory=lambda: {"missing": NOT_COUNTED})
    """What PostgreSQL did meanwhile: `tools.load.statements`."""
    steps: list[Step] = field(default_factory=list)
    drained_after: float = 0.0
    """Seconds from the last message to the moment when every listener was done."""
    baskets: str = ""
    batch: int | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])

    @property
    def ceiling(self) -> float | None:
        """The highest rate that was sustained, if it was looked for."""
        return max((step.rate for step in self.steps if step.sustained), default=0.0) if self.steps else None

    def latencies(self) -> dict[str, Histogram]:
        """From the planned time to the reply, and where mails follow to the mailbox; for each kind of message."""
        found: dict[str, Histogram] = {}
        for kind in self.ledger.kinds:
            shots = list(self.ledger.of(kind))
            for name, durations in ((REPLY, reply_seconds(shots)), (MAIL, mail_seconds(shots))):
                if durations:
                    found[f"{kind}: {name}"] = Histogram.of(durations)
        return found

    def figures(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "scenario": self.scenario,
            "at": self.at.isoformat(timespec="seconds"),
            "rate": self.rate,
            "seconds": self.seconds,
            "batch": self.batch,
            "baskets": self.baskets,
            "machine": {
                "cpus": os.cpu_count(),
                "load_before": round(self.load_before, 2),
                "cores_used_by_others": round(self.cores_of(OTHERS), 2),
                "python": platform.python_version(),
                "system": platform.platform(),
            },
            "ceiling": self.ceiling,
            "holds": self.proof.holds,
            "messages": {kind: self._counts(kind) for kind in self.ledger.kinds},
            "latency_ms": {
                name: {"count": found.count, "mean": round(found.mean * 1000, 3)} | found.table()
                for name, found in self.latencies().items()
            },
            "inside_ms": self.inside,
            "database": self.database,
            "generator_late_ms": round(self.ledger.late * 1000, 1),
            "drained_after": round(self.drained_after, 1),
            "steps": [asdict(step) for step in self.steps],
            "proof": [asdict(check) | {"holds": check.holds} for check in self.proof.checks],
            "errors": self.proof.errors,
            "cores": {name: round(self.cores_of(name), 3) for name in self.parts()},
            "memory_mb": {name: round(peak / 2**20, 1) for name, peak in self.memory_peaks().items()},
            "samples": [asdict(sample) for sample in self.samples],
        }

    def parts(self) -> list[str]:
        return sorted({name for sample in self.samples for name in sample.cpu})

    def cores_of(self, name: str) -> float:
        """Mean of the cores that a part of the system used."""
        used = [sample.cpu[name] for sample in self.samples if name in sample.cpu]
        return sum(used) / len(used) if used else 0.0

    def memory_peaks(self) -> dict[str, int]:
        peaks: dict[str, int] = defaultdict(int)
        for sample in self.samples:
            for name, used in sample.memory.items():
                peaks[name] = max(peaks[name], used)
        return dict(peaks)

    def _counts(self, kind: str) -> dict[str, int]:
        shots = list(self.ledger.of(kind))
        return {
            "sent": len(shots),
            "accepted": sum(shot.accepted for shot in shots),
            "mailed": sum(shot.mailed is not None for shot in shots),
        }


def reply_seconds(shots: Iterable[Shot]) -> list[float]:
    return [shot.latency for shot in shots if shot.latency is not None]


def mail_seconds(shots: Iterable[Shot]) -> list[float]:
    return [shot.mailed - shot.planned for shot in shots if shot.mailed is not None]


def per_second(shots: Sequence[Shot]) -> dict[int, list[Shot]]:
    """Shots by the second in which they were planned."""
    found: dict[int, list[Shot]] = defaultdict(list)
    for shot in shots:
        found[int(shot.planned)].append(shot)
    return dict(sorted(found.items()))
