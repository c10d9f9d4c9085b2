"""Runs the loops of a service."""

import asyncio
import time
from typing import Any, Final

import structlog

from shared.messaging.recovery.circuit_breaker import CircuitBreaker
from shared.messaging.service import Job, Runtime
from shared.observability.logs import logger
from shared.observability.metrics import Metrics

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


class JobLoop:
    """One job: rounds while there is work, a pause when there is none, a growing pause when a round fails."""

    def __init__(self, job: Job[Any], *, database: CircuitBreaker, metrics: Metrics) -> None:
        self.job = job
        self._database = database
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._stopping = False
        self._failing = False

    def wake(self) -> None:
        """There may be work now."""
        self._woken.set()

    def stop(self) -> None:
        """End after the round in hand."""
        self._stopping = True
        self._woken.set()

    async def run(self, runtime: Runtime[Any]) -> None:
        """Do rounds until told to stop. A failing round is logged once and tried again; the loop never dies of it."""
        pause = _FIRST_PAUSE
        while not self._stopping:
            await self._database.wait()
            self._woken.clear()
            try:
                found = await self._round(runtime)
            except Exception as error:  # noqa: BLE001 - the loop outlives every failure of a round
                self._metrics.job_rounds_total.labels(self.job.name, "failed").inc()
                self._note_failure(error)
                await self._rest(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            self._note_success()
            pause = _FIRST_PAUSE
            if not found or self.job.wakes_itself:
                await self._rest(self.job.every.total_seconds())
        await self._finish(runtime)

    async def _finish(self, runtime: Runtime[Any]) -> None:
        try:
            await self.job.finish(runtime)
        except Exception as error:  # noqa: BLE001 - a service that stops goes on stopping
            self._note_failure(error)

    async def _round(self, runtime: Runtime[Any]) -> int:
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(job=self.job.name):
            found = await self.job.round(runtime)
        self._metrics.job_rounds_total.labels(self.job.name, "done" if found else "idle").inc()
        if found:
            self._metrics.job_rows_total.labels(self.job.name).inc(found)
            self._metrics.job_duration_seconds.labels(self.job.name).observe(time.perf_counter() - started)
        return found

    async def _rest(self, seconds: float) -> None:
        if self._stopping:
            return
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    def _note_failure(self, error: Exception) -> None:
        if not self._failing:
            logger().error("job_failing", job=self.job.name, error=error)
        self._failing = True

    def _note_success(self) -> None:
        if self._failing:
            logger().info("job_recovered", job=self.job.name)
        self._failing = False
