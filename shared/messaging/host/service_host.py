"""A running service: everything put together, watched, and stopped in order."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar

import uvicorn
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from yarl import URL

from shared.database import create_engine, create_reading_engine, create_sessions
from shared.messaging.host.health_checks import ServiceChecks
from shared.messaging.host.housekeeping import inbox_purge
from shared.messaging.host.job_loop import JobLoop
from shared.messaging.inbound.authorization import PrincipalsFile
from shared.messaging.inbound.consumers import Consumers
from shared.messaging.inbound.dead_letter_pipeline import DeadLetterPipeline
from shared.messaging.inbound.message_pipeline import MessagePipeline
from shared.messaging.message_context import MessageContext
from shared.messaging.names import QueueKind
from shared.messaging.outbound.publisher import Publisher
from shared.messaging.outbound.relay import Relay
from shared.messaging.outbound.replies import Replies
from shared.messaging.recovery.circuit_breaker import CircuitBreaker
from shared.messaging.recovery.retry import Retry
from shared.messaging.service import Service
from shared.messaging.transaction.group_commit import GroupCommit
from shared.messaging.transaction.transactions import TransactionPerMessage, Transactions
from shared.messaging.transaction.unanswered_refusals import UnansweredRefusals
from shared.messaging.unit_of_work import RELAY, UnitOfWork, open_unit_of_work
from shared.observability.asyncapi import asyncapi_document
from shared.observability.health import EventLoopWatch, Health
from shared.observability.http import create_app
from shared.observability.logs import logger
from shared.observability.metrics import Metrics
from shared.observability.traces import create_tracing
from shared.settings import Consumes, ServiceSettings
from shared.staff.copies import STAFF_CHANGED
from shared.staff.permission_check import StaffCheck

S = TypeVar("S", bound=ServiceSettings)
GARBAGE_THRESHOLDS = (20_000, 20, 20)


class ServiceHost(Generic[S]):
    """Composes a service from its declaration, runs it until a signal, and drains it."""

    def __init__(self, service: Service[S], settings: S) -> None:
        self.service = service
        self.settings = settings
        self.metrics = Metrics(service.name)
        self.tracing = create_tracing(service.name, settings.otlp_endpoint)
        self.engine = create_engine(
            settings.database_url.get_secret_value(),
            service=service.name,
            pool_size=settings.database_connections,
        )
        self.sessions: async_sessionmaker[AsyncSession] = create_sessions(self.engine)
        self.for_queries = max(1, settings.database_connections // 2)
        self.reading = create_reading_engine(
            settings.database_url.get_secret_value(),
            service=service.name,
            pool_size=self.for_queries,
            planned_once=service.queries_planned_once,
        )
        self.database = CircuitBreaker("database", self._ask_database, self.metrics)
        self.stopping = asyncio.Event()
        self._failed: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._answers_only = settings.consumes is Consumes.QUERIES
        self._build_sending()
        self._build_receiving(self._build_transactions())
        self.jobs = {
            job.name: JobLoop(job, database=self.database, metrics=self.metrics)
            for job in (*service.jobs, inbox_purge(service.tables.inbox))
            if not self._answers_only
        }

    def _build_sending(self) -> None:
        service, settings, metrics = self.service, self.settings, self.metrics
        self.amqp_url = settings.amqp_url.get_secret_value()
        user = URL(self.amqp_url).user or ""
        timeout = settings.publish_timeout_seconds
        self.publisher = Publisher(self.amqp_url, name=f"{service.name} publisher", timeout=timeout, metrics=metrics)
        self.answering = Publisher(self.amqp_url, name=f"{service.name} replies", timeout=timeout, metrics=metrics)
        self.relay = Relay(
            service=service.name,
            user=user,
            engine=self.engine,
            outbox=service.tables.outbox,
            publisher=self.publisher,
            database=self.database,
            metrics=metrics,
        )
        self.replies = Replies(self.answering, service=service.name, user=user, metrics=metrics)
        self.retry = Retry(self.publisher, service=service.name, user=user, metrics=metrics)

    def _build_transactions(self) -> Transactions:
        service, settings = self.service, self.settings
        single = TransactionPerMessage(
            service=service.name,
            sessions=self.sessions,
            inbox=service.tables.inbox,
            outbox=service.tables.outbox,
            metrics=self.metrics,
            on_unanswered_refusal=UnansweredRefusals(service.name),
            slots=asyncio.Semaphore(max(1, settings.database_connections - 2)),
            reading=create_sessions(self.reading),
            reading_slots=asyncio.Semaphore(self.for_queries),
        )
        self.grouping: GroupCommit | None = None
        if settings.batch > 1:
            self.grouping = GroupCommit(single, lock_records=service.lock_records, largest=settings.batch)
        return self.grouping or single

    def _build_receiving(self, transactions: Transactions) -> None:
        service, settings = self.service, self.settings
        self.staff = StaffCheck(self.sessions, service.tables.staff, isolated=settings.isolation)
        receiver = MessagePipeline(
            handlers=service.handlers,
            principals=PrincipalsFile(settings.principals_file, isolated=settings.isolation),
            staff=self.staff,
            transactions=transactions,
            retry=self.retry,
            replies=self.replies,
            database=self.database,
            metrics=self.metrics,
            tracing=self.tracing,
            wake=self.committed,
        )
        dead_letters = (
            DeadLetterPipeline(service.dead_letters, transactions, self.retry, self.database, self.committed)
            if service.dead_letters is not None and not self._answers_only
            else None
        )
        self.consumers = Consumers(
            self.amqp_url,
            receiver=receiver,
            kinds=_taken(service.handlers.kinds(), settings.consumes),
            dead_letters=dead_letters,
            prefetch=settings.prefetch,
            metrics=self.metrics,
        )

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until a part that must live has died. Returns the exit code."""
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        _collect_garbage_less_often()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        watch = EventLoopWatch(self.metrics)
        checks = ServiceChecks(self, watch)
        server = self._http_server(checks.health)
        self._supervise("http", server.serve())
        self._supervise("event loop watch", watch.run())
        if not self._answers_only:
            self._supervise("relay", self.relay.run())
        self._supervise("replies", self.replies.run())
        if self.grouping is not None:
            self._supervise("group commit", self.grouping.serve())
        self._supervise("consumers", self.consumers.run())
        for loop_ in self.jobs.values():
            self._supervise(f"job {loop_.job.name}", loop_.run(self))
        logger().info("started", port=self.settings.http_port)
        stopped = asyncio.create_task(self.stopping.wait())
        await asyncio.wait((stopped, self._failed), return_when=asyncio.FIRST_COMPLETED)
        died = self._failed.done()
        await self._drain(server)
        logger().info("stopped", outcome="failed" if died else "drained")
        return 1 if died else 0

    @asynccontextmanager
    async def work(self, context: MessageContext) -> AsyncIterator[UnitOfWork]:
        """A transaction of a job's own."""
        outbox = self.service.tables.outbox
        async with open_unit_of_work(self.sessions, service=self.service.name, outbox=outbox, context=context) as work:
            yield work
        self.committed(work.woken)

    def wake(self, name: str) -> None:
        """Let a job look for work now."""
        self.jobs[name].wake()

    def committed(self, woken: Iterable[str]) -> None:
        """Something was committed: whoever has something to do now looks at once."""
        for name in woken:
            if name == RELAY:
                self.relay.wake()
            elif name == STAFF_CHANGED:
                self.staff.forget()
            else:
                self.wake(name)

    async def _ask_database(self) -> None:
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            if not self._answers_only and await connection.scalar(text("SHOW transaction_read_only")) == "on":
                raise ConnectionError("read only")

    def _supervise(self, name: str, body: Coroutine[Any, Any, None]) -> None:
        """A part that ends before its time takes the process with it; whoever runs us starts it again."""
        task = asyncio.create_task(body, name=name)
        task.add_done_callback(self._part_ended)
        self._tasks.append(task)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if self.stopping.is_set() or self._failed is None or self._failed.done():
            return
        error = None if task.cancelled() else task.exception()
        logger().error("part_died", dependency=task.get_name(), error=error)
        self._failed.set_result(None)

    def dead_parts(self) -> list[str]:
        """Names of parts that have ended although the service is not stopping."""
        if self.stopping.is_set():
            return []
        return [task.get_name() for task in self._tasks if task.done()]

    async def _drain(self, server: uvicorn.Server) -> None:
        """Take nothing new, finish what is in hand, send what is committed, then close."""
        self.stopping.set()
        seconds = self.settings.drain_seconds
        if not await self.consumers.stop(seconds):
            self.metrics.drain_timeout_total.inc()
        for loop in self.jobs.values():
            loop.stop()
        self.relay.drain()
        await self.replies.drain(min(seconds, 2))
        ending = [task for task in self._tasks if task.get_name().startswith(("job", "relay"))]
        if ending:
            await asyncio.wait(ending, timeout=seconds)
        server.should_exit = True
        self.database.stop()
        for task in self._tasks:
            if task.get_name() != "http":
                task.cancel()
        await asyncio.wait(self._tasks, timeout=seconds)
        await asyncio.gather(self.publisher.close(), self.answering.close(), return_exceptions=True)
        await asyncio.gather(self.engine.dispose(), self.reading.dispose())
        self.tracing.shutdown()

    def _http_server(self, health: Health) -> uvicorn.Server:
        app = create_app(self.service.name, health, self.metrics.registry, asyncapi_document(self.service))
        config = uvicorn.Config(
            app,
            host=self.settings.http_host,
            port=self.settings.http_port,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        return _Server(config)


def _taken(kinds: Sequence[QueueKind], consumes: Consumes) -> tuple[QueueKind, ...]:
    """The kinds of messages that this process takes."""
    return tuple(
        kind
        for kind in kinds
        if consumes is Consumes.EVERYTHING or (kind is QueueKind.QUERIES) is (consumes is Consumes.QUERIES)
    )


def _collect_garbage_less_often() -> None:
    """What was imported stays; and a batch of messages makes more short-lived objects than Python's default expects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


class _Server(uvicorn.Server):
    """Signals belong to the service, which drains before the server ends."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
