"""Sends shots at their planned times, whatever the system does, and takes the replies.

An open loop: a slow system does not slow the sender, and waiting for it counts as its latency from the planned time.
Each shot is sent once; nothing is repeated, so that a lost command shows.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq.exceptions import AMQPError

from shared.messaging import names
from tools.load.shots import Ledger, Shot

_CONNECT_SECONDS: Final = 10
_HEARTBEAT_SECONDS: Final = 30
_CONFIRM_SECONDS: Final = 30.0
_NEAR: Final = 0.0005


class Sender:
    """One user of the broker with a reply queue of its own."""

    def __init__(self, url: str, *, client_id: str, actor: str) -> None:
        self._url = url
        self.user = unquote(urlsplit(url).username or "")
        self._headers: dict[str, aio_pika.abc.FieldValue] = {"client-id": client_id, "actor": actor}
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._reply_to = ""

    async def open(self, peer: str, on_reply: Any) -> None:
        """Connect. Raises OSError or AMQPError."""
        self._connection = await aio_pika.connect(
            self._url,
            timeout=_CONNECT_SECONDS,
            heartbeat=_HEARTBEAT_SECONDS,
            client_properties={"connection_name": f"{peer}-load"},
        )
        self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        self._exchange = await self._channel.get_exchange(names.COMMANDS, ensure=False)
        listening = await self._connection.channel()
        queue = await listening.declare_queue(f"replies.{peer}.{secrets.token_hex(8)}", exclusive=True)
        await queue.bind(names.REPLIES, queue.name)
        await queue.consume(on_reply, no_ack=True)
        self._reply_to = queue.name

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed:
            await self._connection.close()

    async def publish(self, shot: Shot) -> None:
        """Hand over a message and wait for the confirm. Raises what the broker or the connection says."""
        if self._exchange is None:
            raise ConnectionError("not connected")
        message_id = str(shot.message_id)
        message = aio_pika.Message(
            shot.body,
            message_id=message_id,
            correlation_id=message_id,
            reply_to=self._reply_to,
            type=shot.key,
            content_type="application/json",
            timestamp=datetime.now(UTC),
            app_id="load",
            user_id=self.user,
            headers=self._headers,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self._exchange.publish(message, shot.key, mandatory=True, timeout=_CONFIRM_SECONDS)


class Gun:
    """Shoots through several senders and notes in the ledger what became of each shot."""

    def __init__(self, ledger: Ledger, senders: Mapping[str, Sender]) -> None:
        self._ledger = ledger
        self._senders = senders
        self._waiting: dict[str, Shot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_answered = asyncio.Event()
        self.began = time.monotonic()
        self.began_at = time.time()

    async def __aenter__(self) -> Self:
        for peer, sender in self._senders.items():
            await sender.open(peer, self._on_reply)
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
            await self._senders[shot.sender].publish(shot)
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
