"""Is the service alive, can it work, and what does each part say. docs/domain.md, "Health".

Probes are asked at most every two seconds and get one second each, so that a load balancer that asks often, or a
database that hangs, does no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from time import monotonic
from typing import Any, Final

from shared.observability.logs import error_type, logger
from shared.observability.metrics import Metrics
from shared.version import VERSION

CACHED_SECONDS: Final = 2.0
PROBE_SECONDS: Final = 1.0
LOOP_STUCK_SECONDS: Final = 30.0


class Status(StrEnum):
    PASS = "pass"  # noqa: S105  the word of the health format
    WARN = "warn"
    """Works, and somebody should look."""
    FAIL = "fail"


SEVERITY: Final = (Status.PASS, Status.WARN, Status.FAIL)


class Group(StrEnum):
    """Who asks."""

    LIVE = "live"
    """Must the process be restarted? No dependency is checked."""
    READY = "ready"
    """Can it do its work now?"""
    FULL = "full"
    """Everything, for people."""


@dataclass(frozen=True)
class Observation:
    """What a probe saw. `output` says in words what is wrong; it never holds data of a customer."""

    status: Status = Status.PASS
    value: str | float | None = None
    unit: str | None = None
    output: str | None = None


Probe = Callable[[], Awaitable[Observation]]


@dataclass(frozen=True)
class Check:
    """One part that is looked at, named `<component>:<measurement>`, such as `postgres:responseTime`."""

    name: str
    component_type: str
    """`component`, `datastore` or `system`."""
    probe: Probe
    groups: frozenset[Group] = frozenset({Group.FULL})


@dataclass(frozen=True)
class Finding:
    """A check with what it saw, and when."""

    check: Check
    observation: Observation
    at: datetime

    def body(self) -> dict[str, Any]:
        found = {
            "componentType": self.check.component_type,
            "observedValue": self.observation.value,
            "observedUnit": self.observation.unit,
            "status": self.observation.status.value,
            "output": self.observation.output,
            "time": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class HealthReport:
    """The answer to one question, as `application/health+json`."""

    service: str
    group: Group
    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """The worst of its checks."""
        return max((finding.observation.status for finding in self.findings), key=SEVERITY.index, default=Status.PASS)

    @property
    def http_status(self) -> int:
        return 503 if self.status is Status.FAIL else 200

    def body(self) -> dict[str, Any]:
        checks: dict[str, list[dict[str, Any]]] = {}
        for finding in self.findings:
            checks.setdefault(finding.check.name, []).append(finding.body())
        return {
            "status": self.status.value,
            "version": VERSION.split(".", 1)[0],
            "releaseId": VERSION,
            "serviceId": self.service,
            "description": f"Aftersale {self.service}: {self.group.value}",
            "checks": checks,
        }


@dataclass
class _Probed:
    check: Check
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    finding: Finding | None = None
    asked: float = 0.0


class Health:
    """The checks of one service."""

    def __init__(self, service: str, checks: Iterable[Check] = ()) -> None:
        self.service = service
        self._probed: list[_Probed] = []
        for check in checks:
            self.add(check)

    def add(self, check: Check) -> None:
        """Look at one more part."""
        self._probed.append(_Probed(check))

    async def report(self, group: Group) -> HealthReport:
        """Ask every check of the group; `full` asks all of them. Never raises and never hangs."""
        asked = [probed for probed in self._probed if group is Group.FULL or group in probed.check.groups]
        findings = await asyncio.gather(*(self._find(probed) for probed in asked))
        return HealthReport(self.service, group, tuple(findings))

    async def _find(self, probed: _Probed) -> Finding:
        async with probed.lock:
            if probed.finding is None or monotonic() - probed.asked >= CACHED_SECONDS:
                observation = await _observe(probed.check)
                before = probed.finding.observation.status if probed.finding else Status.PASS
                if observation.status is not before:
                    logger().warning("health_changed", dependency=probed.check.name, status=observation.status)
                probed.finding = Finding(probed.check, observation, datetime.now(UTC))
                probed.asked = monotonic()
            return probed.finding


async def _observe(check: Check) -> Observation:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await check.probe()
    except TimeoutError:
        return Observation(Status.FAIL, output=f"no answer within {PROBE_SECONDS:g} s")
    except Exception as error:  # noqa: BLE001  whatever a probe raises means that the part is not well
        return Observation(Status.FAIL, output=error_type(error))


class EventLoopWatch:
    """Measures how late the event loop is, and notices when it stands still or the watch itself has died."""

    def __init__(self, metrics: Metrics, every: float = 1.0) -> None:
        self._metrics = metrics
        self._every = every
        self._beat = monotonic()
        self._lag = 0.0

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            before = monotonic()
            await asyncio.sleep(self._every)
            self._beat = monotonic()
            self._lag = max(0.0, self._beat - before - self._every)
            self._metrics.event_loop_lag_seconds.set(self._lag)

    def check(self) -> Check:
        """Fails if the last beat is 30 s old."""
        return Check("eventLoop:lag", "system", self._probe, frozenset({Group.LIVE, Group.FULL}))

    async def _probe(self) -> Observation:
        silent = monotonic() - self._beat
        if silent > LOOP_STUCK_SECONDS:
            return Observation(Status.FAIL, round(silent, 1), "s", "the event loop stood still or its watch has died")
        return Observation(Status.PASS, round(self._lag * 1000, 1), "ms")
