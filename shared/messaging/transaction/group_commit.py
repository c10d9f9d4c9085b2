"""Messages that wait share one transaction: one commit, one round trip for the inbox, one for the outbox.

One loop per process commits. It takes what waits, at most a batch, and never waits for more to come. The rules that
make this safe, and what happened without each of them, are in docs/adr/0003-group-commit.md.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table, Update, bindparam, delete, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.expression import TextualSelect

from shared.contracts.refusals import MissingPrerequisite, Refused
from shared.failpoints import failpoint
from shared.messaging.inbound.validation import Request
from shared.messaging.names import QueueKind
from shared.messaging.outbound.replies import Reply
from shared.messaging.recovery.error_classification import is_collision, is_outage
from shared.messaging.service import LockRecords
from shared.messaging.transaction.deferred_inserts import insert_deferred
from shared.messaging.transaction.inbox import different_message
from shared.messaging.transaction.locked_records import keep_locked
from shared.messaging.transaction.transactions import Outcome, TransactionPerMessage
from shared.messaging.transaction.writes import Writes
from shared.messaging.unit_of_work import UnitOfWork

_COLLISION_REPEATS: Final = 3
_KINDS: Final = ("uuid", "varchar", "bytea")
_Key = tuple[UUID | None, str]


class _WroteBeforeRefusing(Exception):
    """A use case wrote and then refused. In a shared transaction that cannot be taken back alone."""


@dataclass(eq=False)
class _Waiting:
    request: Request
    awaited: bool
    done: "asyncio.Future[Outcome]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def key(self) -> _Key:
        return (self.request.context.message_id, self.request.route.name)

    def settle(self, result: Outcome | BaseException) -> None:
        if self.done.done():
            return
        if isinstance(result, BaseException):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


class GroupCommit:
    """Many messages, one transaction. Queries, and batches that break, go the way of one transaction per message."""

    def __init__(self, single: TransactionPerMessage, *, lock_records: LockRecords | None, largest: int) -> None:
        self._single = single
        self._lock_records = lock_records
        self._largest = largest
        self._entering = _entering(single.inbox)
        self._replying = _replying(single.inbox)
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()

    async def run(self, request: Request, *, awaited: bool) -> Outcome:
        """Wait for the batch that handles this message."""
        if request.route.kind is QueueKind.QUERIES:
            return await self._single.run(request, awaited=awaited)
        waiting = _Waiting(request, awaited)
        self._waiting.append(waiting)
        self._arrived.set()
        return await waiting.done

    async def serve(self) -> None:
        """Commit batch after batch, for as long as the process lives."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                count = min(len(self._waiting), self._largest)
                batch = [self._waiting.popleft() for _ in range(count)]
                batch = [waiting for waiting in batch if not waiting.done.done()]
                await self._settle(batch)

    async def _settle(self, batch: list[_Waiting]) -> None:
        """Every message of the batch gets its outcome or its error; a broken batch is redone one by one."""
        if len(batch) == 1:
            await self._one_by_one(batch)
            return
        for _ in range(_COLLISION_REPEATS):
            try:
                outcomes = await self._commit(batch)
            except Exception as error:  # noqa: BLE001 - whose fault it is shows when they run alone
                if is_collision(error):
                    continue
                if is_outage(error):
                    for waiting in batch:
                        waiting.settle(error)
                    return
                break
            for waiting in batch:
                waiting.settle(outcomes[waiting])
            return
        await self._one_by_one(batch)

    async def _one_by_one(self, batch: list[_Waiting]) -> None:
        for waiting in batch:
            try:
                result: Outcome | BaseException = await self._single.run(waiting.request, awaited=waiting.awaited)
            except Exception as error:  # noqa: BLE001 - the receiver gives it its place
                result = error
            waiting.settle(result)

    async def _commit(self, batch: list[_Waiting]) -> dict[_Waiting, Outcome | BaseException]:
        """Handle a batch in one transaction."""
        groups: dict[_Key, list[_Waiting]] = {}
        for waiting in batch:
            groups.setdefault(waiting.key, []).append(waiting)
        firsts = sorted((group[0] for group in groups.values()), key=_order)
        outcomes: dict[_Waiting, Outcome | BaseException] = {}
        handled: dict[_Key, Outcome] = {}
        async with self._single.sessions() as session, session.begin():
            entered = await self._enter(session, firsts)
            await self._answer_repeats(session, [first for first in firsts if first.key not in entered], outcomes)
            fresh = [first for first in firsts if first.key in entered]
            if self._lock_records is not None and fresh:
                messages = [(each.request.message, each.request.context) for each in fresh]
                keep_locked(session, await self._lock_records(session, messages))
            writes = Writes(session)
            for first in fresh:
                result = await self._handle(session, first, writes)
                outcomes[first] = result
                if isinstance(result, Outcome):
                    handled[first.key] = result
            await self._write(session, handled, [key for key in entered if key not in handled])
            failpoint("before_commit")
        failpoint("after_commit")
        for group in groups.values():
            for duplicate in group[1:]:
                outcomes[duplicate] = self._repeat(group[0], duplicate, outcomes[group[0]])
        return outcomes

    async def _enter(self, session: AsyncSession, firsts: list[_Waiting]) -> set[_Key]:
        """Note all messages in the inbox, in the order of their ids, as every instance does."""
        rows = sorted(
            (
                {"message_id": key[0], "handler": key[1], "fingerprint": first.request.fingerprint}
                for first in firsts
                for key in [first.key]
            ),
            key=lambda row: (str(row["message_id"]), str(row["handler"])),
        )
        columns = {name: [row[name] for row in rows] for name in ("message_id", "handler", "fingerprint")}
        return {(row.message_id, row.handler) for row in (await session.execute(self._entering, columns)).all()}

    async def _answer_repeats(
        self, session: AsyncSession, repeats: list[_Waiting], outcomes: dict[_Waiting, Outcome | BaseException]
    ) -> None:
        """Messages that were handled in an earlier transaction."""
        if not repeats:
            return
        inbox = self._inbox
        keys = tuple_(inbox.c.message_id, inbox.c.handler)
        found = await session.execute(select(inbox).where(keys.in_([repeat.key for repeat in repeats])))
        stored = {(row.message_id, row.handler): row for row in found.all()}
        for repeat in repeats:
            row = stored[repeat.key]
            reply = Reply(row.reply_type, row.reply) if row.reply_type else None
            outcomes[repeat] = self._judge_repeat(repeat, row.fingerprint, reply)

    async def _handle(self, session: AsyncSession, waiting: _Waiting, writes: Writes) -> Outcome | BaseException:
        """Run one use case. A refusal is an outcome here; it must not have written anything."""
        request = waiting.request
        work = UnitOfWork(self._single.service, session, self._single.outbox, request.context)
        # Commands refuse all the time, so what they wrote themselves must be told apart from what was there.
        await writes.begin(exactly=request.route.kind is QueueKind.COMMANDS)
        try:
            result = await request.route.handler(request.message, work)
        except Refused as refusal:
            if writes.found():
                raise _WroteBeforeRefusing from refusal
            if isinstance(refusal, MissingPrerequisite):
                return refusal
            if not waiting.awaited:
                await self._single.on_unanswered_refusal(work, request, refusal)
            return Outcome(Reply.of(refusal.problem()), "refused", frozenset(work.woken), refusal.code)
        reply = Reply.of(result) if result is not None else None
        return Outcome(reply, "done", frozenset(work.woken))

    async def _write(self, session: AsyncSession, handled: dict[_Key, Outcome], unfinished: list[_Key]) -> None:
        """The changes, then all outbox rows at once, then all replies at once."""
        await session.flush()
        await insert_deferred(session)
        inbox = self._inbox
        replies: list[dict[str, Any]] = [
            {"id": key[0], "name": key[1], "kind": reply.content_type, "content": reply.body}
            for key, outcome in handled.items()
            if (reply := outcome.reply) is not None
        ]
        if replies:
            connection = await session.connection()
            await connection.execute(self._replying, replies)
        if unfinished:
            keys = tuple_(inbox.c.message_id, inbox.c.handler)
            await session.execute(delete(inbox).where(keys.in_(unfinished)))

    def _repeat(
        self, first: _Waiting, duplicate: _Waiting, outcome: Outcome | BaseException
    ) -> Outcome | BaseException:
        """A second delivery of a message, in the same batch."""
        if isinstance(outcome, BaseException):
            return outcome
        return self._judge_repeat(duplicate, first.request.fingerprint, outcome.reply)

    def _judge_repeat(self, repeat: _Waiting, fingerprint: bytes, reply: Reply | None) -> Outcome | BaseException:
        if fingerprint != repeat.request.fingerprint:
            self._single.metrics.inbox_conflicts_total.inc()
            return different_message()
        self._single.metrics.inbox_duplicates_total.labels(repeat.request.route.name).inc()
        return Outcome(reply, "repeated")

    @property
    def _inbox(self) -> Table:
        return self._single.inbox


def _entering(inbox: Table) -> TextualSelect:
    """One statement for a batch of any size: as arrays, so that its text stays the same and is prepared once."""
    columns = (inbox.c.message_id, inbox.c.handler, inbox.c.fingerprint)
    given = ", ".join(f"CAST(:{column.name} AS {kind}[])" for column, kind in zip(columns, _KINDS, strict=True))
    names = ", ".join(column.name for column in columns)
    return (
        text(
            f"INSERT INTO {inbox.name} ({names}) SELECT * FROM unnest({given})"  # noqa: S608 - our own names
            " ON CONFLICT DO NOTHING RETURNING message_id, handler"
        )
        .bindparams(*(bindparam(column.name, type_=ARRAY(column.type)) for column in columns))
        .columns(inbox.c.message_id, inbox.c.handler)
    )


def _replying(inbox: Table) -> Update:
    return (
        update(inbox)
        .where(inbox.c.message_id == bindparam("id"), inbox.c.handler == bindparam("name"))
        .values(reply_type=bindparam("kind"), reply=bindparam("content"))
    )


def _order(waiting: _Waiting) -> tuple[str, str]:
    """Every instance handles records in the same order, so that two of them cannot wait for each other."""
    return (waiting.request.lane or "", str(waiting.request.context.message_id))
