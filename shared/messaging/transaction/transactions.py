"""The one place where the work of a message is committed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import stamina
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from shared.contracts.message import Data
from shared.contracts.refusals import MissingPrerequisite, Refused
from shared.failpoints import failpoint
from shared.messaging.inbound.validation import Request
from shared.messaging.message_context import MessageContext
from shared.messaging.names import QueueKind
from shared.messaging.outbound.replies import Reply
from shared.messaging.recovery.error_classification import is_collision, sqlstate
from shared.messaging.transaction.inbox import AlreadyHandled, enter, note_reply
from shared.messaging.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics

REPEATS = 3
OnRefusal = Callable[[UnitOfWork, Request, Refused], Awaitable[None]]


@dataclass(frozen=True)
class Outcome:
    """How a message ended."""

    reply: Reply | None
    word: str
    """`done`, `refused` or `repeated`."""
    woken: frozenset[str] = frozenset()
    """Who has something to do since the commit: jobs by name, and the relay."""
    code: str | None = None


class Transactions(Protocol):
    """Runs the work of messages and commits it. How many share a transaction is the implementation's affair."""

    async def run(self, request: Request, *, awaited: bool) -> Outcome:
        """Handle a message, once and for all. `awaited`: somebody waits for the reply.

        Raises MissingPrerequisite, Refused with `same_id_different_body`, or whatever broke; then nothing is written.
        """
        ...


@dataclass(frozen=True)
class TransactionPerMessage:
    """Every message has a transaction of its own."""

    service: str
    sessions: async_sessionmaker[AsyncSession]
    inbox: Table
    outbox: Table
    metrics: Metrics
    on_unanswered_refusal: OnRefusal
    """What is to be written when a message is refused and nobody waits for the reply."""
    slots: asyncio.Semaphore
    """As many messages touch the database at once as there are connections for them."""
    reading: async_sessionmaker[AsyncSession]
    """For queries, on connections of their own, which cannot write."""
    reading_slots: asyncio.Semaphore

    async def run(self, request: Request, *, awaited: bool) -> Outcome:
        async with self.reading_slots if request.route.kind is QueueKind.QUERIES else self.slots:
            return await self._run(request, awaited=awaited)

    async def _run(self, request: Request, *, awaited: bool) -> Outcome:
        try:
            return await self._repeating(lambda: self._run_once(request))
        except MissingPrerequisite:
            raise
        except Refused as refusal:
            if request.route.kind is QueueKind.QUERIES:
                return Outcome(Reply.of(refusal.problem()), "refused", code=refusal.code)
            if refusal.code == "same_id_different_body":
                self.metrics.inbox_conflicts_total.inc()
                raise
            refused = refusal
        return await self._repeating(lambda: self._note_refusal(request, refused, awaited=awaited))

    async def _run_once(self, request: Request) -> Outcome:
        if request.route.kind is QueueKind.QUERIES:
            async with self.reading() as session:
                answer = await self._handle(request, self._work(session, request.context))
            return Outcome(Reply.of(answer), "done")
        async with self.sessions() as session, session.begin():
            work = self._work(session, request.context)
            try:
                await enter(session, self.inbox, request)
            except AlreadyHandled as first:
                return self._repeated(request, first)
            result = await request.route.handler(request.message, work)
            reply = Reply.of(result) if result is not None else None
            await work.complete()
            if reply is not None:
                await note_reply(session, self.inbox, request, reply)
            failpoint("before_commit")
        failpoint("after_commit")
        return Outcome(reply, "done", frozenset(work.woken))

    async def _note_refusal(self, request: Request, refusal: Refused, *, awaited: bool) -> Outcome:
        """A refusal is stored like a success. The work that was refused has been rolled back whole."""
        reply = Reply.of(refusal.problem())
        told = frozenset[str]()
        async with self.sessions() as session, session.begin():
            try:
                await enter(session, self.inbox, request, reply=reply)
            except AlreadyHandled as first:
                return self._repeated(request, first)
            if not awaited:
                work = self._work(session, request.context)
                await self.on_unanswered_refusal(work, request, refusal)
                await work.complete()
                told = frozenset(work.woken)
        return Outcome(reply, "refused", told, refusal.code)

    def _repeated(self, request: Request, first: AlreadyHandled) -> Outcome:
        self.metrics.inbox_duplicates_total.labels(request.route.name).inc()
        return Outcome(first.reply, "repeated")

    async def _handle(self, request: Request, work: UnitOfWork) -> Data:
        result = await request.route.handler(request.message, work)
        assert result is not None
        return result

    def _work(self, session: AsyncSession, context: MessageContext) -> UnitOfWork:
        return UnitOfWork(self.service, session, self.outbox, context)

    async def _repeating(self, once: Callable[[], Awaitable[Outcome]]) -> Outcome:
        async for attempt in stamina.retry_context(
            on=self._collided, attempts=REPEATS + 1, wait_initial=0.01, wait_max=0.2, wait_jitter=0.05, timeout=None
        ):
            with attempt:
                return await once()
        raise AssertionError("stamina either returns or raises")

    def _collided(self, error: Exception) -> bool:
        if not is_collision(error):
            return False
        self.metrics.db_tx_repeats_total.labels(sqlstate(error)).inc()
        return True
