"""The health checks that every service has."""

import time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from shared import migrations
from shared.messaging.inbound.consumers import WITHOUT_CONSUMERS_SECONDS
from shared.observability.health import Check, EventLoopWatch, Group, Health, Observation, Status

if TYPE_CHECKING:
    from shared.messaging.host.service_host import ServiceHost

OUTBOX_LATE_SECONDS: Final = 60
_ALIVE: Final = frozenset({Group.LIVE, Group.FULL})
_READY: Final = frozenset({Group.READY, Group.FULL})


class ServiceChecks:
    """Probes of the parts of a running service."""

    def __init__(self, running: "ServiceHost[Any]", watch: EventLoopWatch) -> None:
        self._running = running
        self._revision_known = False
        self.health = Health(
            running.service.name,
            (
                watch.check(),
                Check("tasks:running", "component", self._tasks, _ALIVE),
                Check("rabbitmq:consumers", "component", self._consumers, _ALIVE),
                Check("postgres:responseTime", "datastore", self._database, _READY),
                Check("postgres:schema", "datastore", self._schema, _READY),
                Check("rabbitmq:connection", "component", self._broker, _READY),
                Check("service:draining", "component", self._draining, _READY),
                Check("outbox:oldestPendingAge", "datastore", self._outbox),
                Check("queue:depth", "component", self._depth),
            ),
        )

    async def _tasks(self) -> Observation:
        dead = self._running.dead_parts()
        if dead:
            return Observation(Status.FAIL, len(dead), "tasks", f"died: {', '.join(dead)}")
        return Observation(Status.PASS, 0, "dead")

    async def _consumers(self) -> Observation:
        """Connected for a minute without our consumers, although nothing keeps us from working: restart me."""
        since = self._running.consumers.lost_since
        if since is None or self._running.database.is_open:
            return Observation(Status.PASS)
        missing = time.monotonic() - since
        failed = missing > WITHOUT_CONSUMERS_SECONDS
        return Observation(Status.FAIL if failed else Status.WARN, round(missing), "s", "connected without consumers")

    async def _database(self) -> Observation:
        if self._running.database.is_open:
            return Observation(Status.FAIL, output="the database does not answer")
        started = time.perf_counter()
        async with self._running.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return Observation(Status.PASS, round((time.perf_counter() - started) * 1000, 1), "ms")

    async def _schema(self) -> Observation:
        if not self._revision_known:
            package = self._running.service.package
            async with self._running.engine.connect() as connection:
                revision = await migrations.current_revision(connection)
            if migrations.is_behind(package, revision):
                return Observation(Status.FAIL, revision or "none", output="migrations have not been run")
            self._revision_known = True
        return Observation(Status.PASS)

    async def _broker(self) -> Observation:
        consumers = self._running.consumers
        if not consumers.is_connected:
            return Observation(Status.FAIL, output="not connected to the broker")
        if not consumers.is_consuming:
            return Observation(Status.FAIL, output="connected, not consuming")
        return Observation(Status.PASS)

    async def _draining(self) -> Observation:
        stopping = self._running.stopping.is_set()
        return Observation(Status.FAIL if stopping else Status.PASS, output="draining" if stopping else None)

    async def _outbox(self) -> Observation:
        outbox = self._running.service.tables.outbox.name
        async with self._running.engine.connect() as connection:
            age = await connection.scalar(
                text(
                    f"SELECT extract(epoch FROM now() - min(created_at)) FROM {outbox}"  # noqa: S608 - our own table
                    " WHERE set_aside_at IS NULL"
                )
            )
        seconds = round(float(age or 0), 1)
        return Observation(Status.WARN if seconds > OUTBOX_LATE_SECONDS else Status.PASS, seconds, "s")

    async def _depth(self) -> Observation:
        waiting = sum(consumption.waiting or 0 for consumption in self._running.consumers.consumptions)
        return Observation(Status.PASS, waiting, "messages")
