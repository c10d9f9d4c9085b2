"""Health answers in time, whatever hangs, and asks no more often than it must."""

import asyncio
import time

import pytest

from shared.observability import health
from shared.observability.health import Check, EventLoopWatch, Group, Health, Observation, Status
from shared.observability.metrics import Metrics

READY = frozenset({Group.READY})


class Probe:
    """A part whose state the test sets, and which counts how often it is asked."""

    def __init__(self, status: Status = Status.PASS, *, raises: Exception | None = None, seconds: float = 0) -> None:
        self.status, self.raises, self.seconds, self.asked = status, raises, seconds, 0

    async def __call__(self) -> Observation:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.raises:
            raise self.raises
        return Observation(self.status, 3.1, "ms")


async def test_the_worst_check_decides() -> None:
    warned = Health("purchases", [Check("a:b", "component", Probe()), Check("c:d", "system", Probe(Status.WARN))])
    failed = Health("purchases", [Check("a:b", "component", Probe(Status.FAIL)), Check("c:d", "system", Probe())])
    assert (await warned.report(Group.FULL)).status is Status.WARN
    assert (await warned.report(Group.FULL)).http_status == 200
    assert (await failed.report(Group.FULL)).http_status == 503


async def test_each_group_asks_its_own_checks_and_full_asks_all() -> None:
    database = Check("postgres:responseTime", "datastore", Probe(Status.FAIL), READY)
    loop = Check("eventLoop:lag", "system", Probe(), frozenset({Group.LIVE}))
    checked = Health("purchases", [database, loop])
    assert set((await checked.report(Group.LIVE)).body()["checks"]) == {"eventLoop:lag"}
    assert (await checked.report(Group.LIVE)).http_status == 200
    assert (await checked.report(Group.READY)).http_status == 503
    assert set((await checked.report(Group.FULL)).body()["checks"]) == {"eventLoop:lag", "postgres:responseTime"}


async def test_a_probe_that_hangs_fails_after_a_second_and_holds_up_nobody() -> None:
    hanging = Check("postgres:responseTime", "datastore", Probe(seconds=60), READY)
    started = time.monotonic()
    report = await Health("purchases", [hanging]).report(Group.READY)
    assert time.monotonic() - started < 2
    assert report.body()["checks"]["postgres:responseTime"][0]["output"] == "no answer within 1 s"


async def test_a_probe_that_raises_fails_with_the_type_of_the_error_only() -> None:
    raising = Check("a:b", "component", Probe(raises=ConnectionError("password=secret")), READY)
    report = await Health("purchases", [raising]).report(Group.READY)
    assert report.http_status == 503
    assert report.findings[0].observation.output == "ConnectionError"


async def test_answers_are_kept_for_two_seconds_and_shared_by_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(health, "monotonic", lambda: now)
    probe = Probe(seconds=0.01)
    checked = Health("purchases", [Check("a:b", "component", probe, READY)])
    await asyncio.gather(*(checked.report(Group.READY) for _ in range(20)))
    assert probe.asked == 1
    now += health.CACHED_SECONDS
    probe.status = Status.FAIL
    assert (await checked.report(Group.READY)).status is Status.FAIL
    assert probe.asked == 2


async def test_the_watch_fails_when_its_beat_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics("purchases")
    watch = EventLoopWatch(metrics, every=0.01)
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0.05)
    assert (await watch.check().probe()).status is Status.PASS
    task.cancel()
    later = time.monotonic() + 31
    monkeypatch.setattr(health, "monotonic", lambda: later)
    assert (await watch.check().probe()).status is Status.FAIL


async def test_a_late_loop_shows_in_the_metric() -> None:
    metrics = Metrics("purchases")
    task = asyncio.create_task(EventLoopWatch(metrics, every=0.01).run())
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251  the loop has to be blocked
    await asyncio.sleep(0.005)
    lag = metrics.registry.get_sample_value("event_loop_lag_seconds")
    task.cancel()
    assert lag is not None
    assert lag >= 0.15
