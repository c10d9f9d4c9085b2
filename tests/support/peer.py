"""Another system, as seen by ours: a broker user with its own reply queue and event queue."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID, uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from yarl import URL

from shared.contracts.message import Message
from shared.messaging import names


@dataclass(frozen=True)
class Answer:
    """A reply as the peer got it."""

    content_type: str
    body: dict[str, Any]
    raw: bytes

    @property
    def code(self) -> str | None:
        """The problem code, or None for a success."""
        return self.body["code"] if self.content_type == "application/problem+json" else None


@dataclass
class Peer:
    """Publishes under its own user and waits for replies."""

    url: str
    client: str = "demo-shop"
    actor: str = "service:checkout"
    answers: dict[str, asyncio.Queue[Answer]] = field(default_factory=dict)

    @property
    def user(self) -> str:
        return URL(self.url).user or ""

    async def open(self) -> Self:
        """Connect, and make a reply queue bound with its own name."""
        self.connection: AbstractConnection = await aio_pika.connect(self.url)
        self.channel: AbstractChannel = await self.connection.channel(on_return_raises=True)
        self.replies = f"replies.{self.user}.{uuid4().hex}"
        queue = await self.channel.declare_queue(self.replies, exclusive=True, auto_delete=True)
        await queue.bind(names.REPLIES, self.replies)
        await queue.consume(self._on_reply, no_ack=True)
        self.commands: AbstractExchange = await self.channel.get_exchange(names.COMMANDS, ensure=False)
        return self

    async def close(self) -> None:
        """Disconnect."""
        await self.connection.close()

    async def send(
        self,
        key: str,
        body: bytes,
        *,
        message_id: UUID | str | None = None,
        headers: dict[str, Any] | None = None,
        exchange: str = names.COMMANDS,
        reply: bool = False,
        **properties: Any,
    ) -> str:
        """Publish as it is; returns the message id. `reply` asks for one."""
        identity = str(message_id or uuid4())
        values: dict[str, Any] = {
            "headers": {"client-id": self.client, "actor": self.actor} if headers is None else headers,
            "message_id": identity,
            "user_id": self.user,
            "content_type": "application/json",
            "delivery_mode": aio_pika.DeliveryMode.PERSISTENT,
            "reply_to": self.replies if reply else None,
        } | properties
        target = (
            self.commands if exchange == names.COMMANDS else await self.channel.get_exchange(exchange, ensure=False)
        )
        if reply:
            self.answers.setdefault(values.get("correlation_id") or identity, asyncio.Queue())
        await target.publish(aio_pika.Message(body, **values), key, timeout=10)
        return identity

    async def ask(
        self, message: Message, *, message_id: UUID | str | None = None, timeout: float = 30, **properties: Any
    ) -> Answer:
        """Send a command or query and wait for the reply."""
        body = message.model_dump_json(exclude_none=True).encode()
        return await self.ask_raw(type(message).key, body, message_id=message_id, timeout=timeout, **properties)

    async def ask_raw(
        self, key: str, body: bytes, *, message_id: UUID | str | None = None, timeout: float = 30, **properties: Any
    ) -> Answer:
        """Send bytes and wait for the reply."""
        identity = await self.send(key, body, message_id=message_id, reply=True, **properties)
        waiting = self.answers[properties.get("correlation_id") or identity]
        return await asyncio.wait_for(waiting.get(), timeout)

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        answer = Answer(message.content_type or "", json.loads(message.body), message.body)
        self.answers.setdefault(message.correlation_id or "", asyncio.Queue()).put_nowait(answer)


@asynccontextmanager
async def peer(url: str, *, client: str = "demo-shop", actor: str = "service:checkout") -> AsyncIterator[Peer]:
    """A connected peer."""
    opened = await Peer(url, client, actor).open()
    try:
        yield opened
    finally:
        await opened.close()
