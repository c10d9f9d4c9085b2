"""Sends shots at their planned times, whatever the system does, and takes the replies.

An open loop: a slow system does not slow the sender, and waiting for it counts as its latency from the planned time.
Each shot is sent once; nothing is repeated, so that a lost command shows.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final, Self

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq.exceptions import AMQPError

from tools.client import Client
from tools.load.shots import Ledger, Shot

_NEAR: Final = 0.0005


class Gun:
    """Shoots through several senders and notes in the ledger what became of each shot."""

    def __init__(self, ledger: Ledger, senders: Mapping[str, Client]) -> None:
        self._ledger = ledger
        self._senders = senders
        self._waiting: dict[str, Shot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_answered = asyncio.Event()
        self.began = time.monotonic()
        self.began_at = time.time()

    async def __aenter__(self) -> Self:
        for sender in self._senders.values():
            sender.on_reply = self._on_reply
            await sender.open()
        self.began, self.began_at = time.monotonic(), time.time()
        self._ledger.began_at = self.began_at
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sender in self._senders.values():
            await sender.close()

    @property
    def now(self) -> float:
        """Seconds since the beginning of the run."""
        return time.monotonic() - self.began

    @property
    def open(self) -> int:
        """Messages without an answer."""
        return len(self._waiting)

    async def fire(self, shots: Iterable[Shot], rate: float, seconds: float) -> None:
        """Send at this rate for so long, evenly spaced. Returns when the last has been started."""
        source: Iterator[Shot] = iter(shots)
        start = self.now
        for number in range(max(1, round(rate * seconds))):
            planned = start + number / rate
            wait = planned - self.now
            if wait > _NEAR:
                await asyncio.sleep(wait)
            shot = next(source, None)
            if shot is None:
                return
            self._start(shot, planned)
            if wait <= 0:
                # Behind the plan: let replies in all the same.
                await asyncio.sleep(0)

    async def settle(self, seconds: float) -> None:
        """Wait for the answers that are still out, at most so long."""
        if self._waiting:
            self._all_answered.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_answered.wait(), seconds)
        for shot in self._waiting.values():
            shot.code = shot.code or "no_reply"

    def note(self, shot: Shot, planned: float) -> None:
        """Take a shot into the ledger that is not sent to the broker."""
        shot.planned = planned
        self._ledger.shots.append(shot)

    def _start(self, shot: Shot, planned: float) -> None:
        self.note(shot, planned)
        self._ledger.late = max(self._ledger.late, self.now - planned)
        self._waiting[str(shot.message_id)] = shot
        task = asyncio.get_running_loop().create_task(self._send(shot))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, shot: Shot) -> None:
        try:
            await self._senders[shot.sender].send(shot.key, shot.body, message_id=shot.message_id, reply=True)
        except (PublishError, DeliveryError, AMQPError, OSError, TimeoutError, RuntimeError) as error:
            shot.code = f"not_sent_{type(error).__name__}"
            self._take(str(shot.message_id))
        else:
            shot.sent = self.now

    def _take(self, message_id: str) -> Shot | None:
        shot = self._waiting.pop(message_id, None)
        if not self._waiting:
            self._all_answered.set()
        return shot

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        shot = self._take(message.correlation_id or "")
        if shot is None:
            return
        shot.answered = self.now
        shot.accepted = message.content_type == "application/json"
        if shot.accepted and shot.is_query:
            return
        facts = json.loads(message.body)
        if shot.accepted:
            shot.facts = facts
        else:
            shot.code = str(facts.get("code", "unknown"))
