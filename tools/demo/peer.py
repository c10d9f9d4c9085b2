"""A peer on the broker, as any other program would be one: it sends commands and waits for the replies.

Nothing of the services is used here but the names on the broker. A command whose reply does not come is sent again
under the same message id; the receiver handles it once and answers each time.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aiormq.exceptions import AMQPError

from shared.messaging import names
from shared.messaging.outbound.publisher import Publisher, PublishFailed, PublishUnknown
from shared.observability.metrics import Metrics

_HEARTBEAT_SECONDS: Final = 10
_CONNECT_SECONDS: Final = 10
_PAUSE_SECONDS: Final = 1.0
PATIENCE: Final = (15.0, 30.0, 60.0, 60.0, 60.0)
"""Seconds to wait for a reply before the same message is sent again; given up after the last."""


class NoReply(Exception):
    """No reply came in all the time; what became of the command is not known."""


class Answer:
    """A reply: what was done, or the problem why not."""

    def __init__(self, content_type: str | None, body: bytes) -> None:
        self.accepted = content_type == "application/json"
        self.facts: dict[str, Any] = json.loads(body)

    @property
    def code(self) -> str | None:
        """The stable code of a refusal."""
        return None if self.accepted else str(self.facts.get("code", "unknown"))


class Peer:
    """One user of the broker, acting for one client."""

    def __init__(
        self, url: str, *, name: str, client_id: str, actor: str, patience: Sequence[float] = PATIENCE
    ) -> None:
        self._url = url
        self._name = name
        self._user = unquote(urlsplit(url).username or "")
        self._headers: dict[str, aio_pika.abc.FieldValue] = {"client-id": client_id, "actor": actor}
        self._patience = patience
        self._publisher = Publisher(url, name=f"{name}-demo", timeout=_CONNECT_SECONDS, metrics=Metrics(f"{name}-demo"))
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._reply_to = ""
        self._listening = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        self.repeats = 0
        """Commands that were sent again because nothing had come back."""

    async def __aenter__(self) -> Self:
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        await self._publisher.close()

    async def ask(self, key: str, body: bytes, message_id: UUID) -> Answer:
        """Send a command and wait for its reply. Raises NoReply, or PublishFailed if the broker has no queue for it."""
        correlation_id = str(message_id)
        answered = self._waiting[correlation_id] = asyncio.get_running_loop().create_future()
        try:
            for turn, seconds in enumerate(self._patience):
                self.repeats += turn > 0
                await self._send(key, body, correlation_id)
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(asyncio.shield(answered), seconds)
        finally:
            del self._waiting[correlation_id]
        raise NoReply(key)

    async def _send(self, key: str, body: bytes, message_id: str) -> None:
        """Publish until the broker has confirmed."""
        while True:
            await self._listening.wait()
            message = aio_pika.Message(
                body,
                message_id=message_id,
                correlation_id=message_id,
                reply_to=self._reply_to,
                type=key,
                content_type="application/json",
                timestamp=datetime.now(UTC),
                app_id="demo",
                user_id=self._user,
                headers=dict(self._headers),
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            try:
                await self._publisher.publish(message, exchange=names.COMMANDS, key=key)
            except PublishUnknown:
                self.repeats += 1
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def _listen(self) -> None:
        """Keep a reply queue open; after the loss of the connection a new one, as the old one was ours alone."""
        while True:
            with contextlib.suppress(AMQPError, OSError, TimeoutError):
                connection = await aio_pika.connect(
                    self._url,
                    timeout=_CONNECT_SECONDS,
                    heartbeat=_HEARTBEAT_SECONDS,
                    client_properties={"connection_name": f"{self._name}-demo-replies"},
                )
                async with connection:
                    await self._consume(connection)
                    self._listening.set()
                    await _until_closed(connection)
            self._listening.clear()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _consume(self, connection: AbstractConnection) -> None:
        channel = await connection.channel()
        queue = await channel.declare_queue(f"replies.{self._name}.{secrets.token_hex(8)}", exclusive=True)
        await queue.bind(names.REPLIES, queue.name)
        await queue.consume(self._on_reply, no_ack=True)
        self._reply_to = queue.name

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        waiting = self._waiting.get(message.correlation_id or "")
        if waiting is not None and not waiting.done():
            waiting.set_result(Answer(message.content_type, message.body))


async def _until_closed(connection: AbstractConnection) -> None:
    closed = asyncio.Event()
    connection.close_callbacks.add(lambda *_: closed.set())
    if not connection.is_closed:
        await closed.wait()


__all__ = ["Answer", "NoReply", "Peer", "PublishFailed"]
