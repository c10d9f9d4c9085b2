"""A client on the broker, as any other program would be one: the demo, the load tests and the tests are built on it.

Nothing of the services is used here but their contracts and the names on the broker.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage

from shared.contracts.message import Message
from shared.ids import new_id
from shared.messaging import names
from shared.messaging.recovery.error_classification import BrokerLost, broker_may_break

_CONNECT_SECONDS: Final = 10
_HEARTBEAT_SECONDS: Final = 10
_CONFIRM_SECONDS: Final = 30.0
_REPLY_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 1.0
PATIENCE: Final = (15.0, 30.0, 60.0, 60.0, 60.0)
"""Seconds to wait for a reply before the same message is sent again; given up after the last."""
OnReply = Callable[[AbstractIncomingMessage], Awaitable[None]]


class NoReply(Exception):
    """No reply came in all the time; what became of the command is not known."""


@dataclass(frozen=True)
class Answer:
    """A reply: what was done, or the problem why not."""

    content_type: str
    raw: bytes
    body: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", json.loads(self.raw))

    @property
    def accepted(self) -> bool:
        return self.content_type == "application/json"

    @property
    def code(self) -> str | None:
        """The stable code of a refusal; None for a success."""
        return None if self.accepted else str(self.body.get("code", "unknown"))


class Client:
    """One user of the broker with a reply queue of its own, acting for one client of the platform."""

    def __init__(self, url: str, *, client: str = "demo-shop", actor: str, app: str = "client") -> None:
        self.url = url
        self.user = unquote(urlsplit(url).username or "")
        self.client = client
        self.actor = actor
        self.answers: dict[str, asyncio.Queue[Answer]] = {}
        """Replies by the correlation id of what was asked."""
        self._app = app
        self.on_reply: OnReply = self._keep_answer
        """What is done with a reply; set before `open` by who does not use `ask`."""

    async def open(self) -> Self:
        """Connect, and make a reply queue bound with its own name. Raises OSError or AMQPError."""
        self.connection: AbstractConnection = await aio_pika.connect(
            self.url,
            timeout=_CONNECT_SECONDS,
            heartbeat=_HEARTBEAT_SECONDS,
            client_properties={"connection_name": f"{self.user}-{self._app}"},
        )
        self.channel: AbstractChannel = await self.connection.channel(publisher_confirms=True, on_return_raises=True)
        self.commands: AbstractExchange = await self.channel.get_exchange(names.COMMANDS, ensure=False)
        listening = await self.connection.channel()
        queue = await listening.declare_queue(f"replies.{self.user}.{secrets.token_hex(8)}", exclusive=True)
        await queue.bind(names.REPLIES, queue.name)
        await queue.consume(self.on_reply, no_ack=True)
        self.replies = queue.name
        return self

    async def close(self) -> None:
        """Disconnect."""
        await self.connection.close()

    def message(self, key: str, body: bytes, message_id: UUID | str, **properties: Any) -> aio_pika.Message:
        """What is sent; `properties` replace the usual ones."""
        usual: dict[str, Any] = {
            "headers": {"client-id": self.client, "actor": self.actor},
            "message_id": str(message_id),
            "user_id": self.user,
            "type": key,
            "app_id": self._app,
            "timestamp": datetime.now(UTC),
            "content_type": "application/json",
            "delivery_mode": aio_pika.DeliveryMode.PERSISTENT,
        }
        return aio_pika.Message(body, **(usual | properties))

    async def send(
        self,
        key: str,
        body: bytes,
        *,
        message_id: UUID | str | None = None,
        exchange: str = names.COMMANDS,
        reply: bool = False,
        **properties: Any,
    ) -> str:
        """Publish and wait for the confirm; returns the message id. `reply` asks for one.

        Raises DeliveryError if the broker does not take it, or has no queue for it.
        """
        identity = str(message_id or new_id())
        if reply:
            properties = {"reply_to": self.replies, "correlation_id": identity} | properties
        target = self.commands
        if exchange != names.COMMANDS:
            target = await self.channel.get_exchange(exchange, ensure=False)
        message = self.message(key, body, identity, **properties)
        await target.publish(message, key, mandatory=True, timeout=_CONFIRM_SECONDS)
        return identity

    async def ask(self, message: Message, *, message_id: UUID | str | None = None, **properties: Any) -> Answer:
        """Send a command or query and wait for the reply. Raises TimeoutError."""
        body = message.model_dump_json(exclude_none=True).encode()
        return await self.ask_raw(type(message).key, body, message_id=message_id, **properties)

    async def ask_raw(
        self,
        key: str,
        body: bytes,
        *,
        message_id: UUID | str | None = None,
        timeout: float = _REPLY_SECONDS,
        **properties: Any,
    ) -> Answer:
        """The same with bytes."""
        identity = str(message_id or new_id())
        waiting = self.answers.setdefault(str(properties.get("correlation_id", identity)), asyncio.Queue())
        await self.send(key, body, message_id=identity, reply=True, **properties)
        return await asyncio.wait_for(waiting.get(), timeout)

    async def _keep_answer(self, message: AbstractIncomingMessage) -> None:
        answer = Answer(message.content_type or "", message.body)
        self.answers.setdefault(message.correlation_id or "", asyncio.Queue()).put_nowait(answer)


class PatientClient:
    """A client that connects again, and sends again what was not answered: under the same message id, so that the
    receiver handles it once and answers each time."""

    def __init__(self, url: str, *, client: str, actor: str, app: str, patience: Sequence[float] = PATIENCE) -> None:
        self._client = Client(url, client=client, actor=actor, app=app)
        self._patience = patience
        self._opening = asyncio.Lock()
        self._is_open = False
        self.repeats = 0
        """Commands that were sent again because nothing had come back."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            await self._client.close()

    async def ask(self, key: str, body: bytes, message_id: UUID) -> Answer:
        """Send a command and wait for its reply. Raises NoReply, or DeliveryError if the broker has no queue for it."""
        sent_before = False
        for seconds in self._patience:
            while True:
                await self._opened()
                self.repeats += sent_before
                sent_before = True
                try:
                    with broker_may_break():
                        return await self._client.ask_raw(key, body, message_id=message_id, timeout=seconds)
                except BrokerLost as lost:
                    if isinstance(lost.__cause__, TimeoutError):
                        break
                await asyncio.sleep(_PAUSE_SECONDS)
        raise NoReply(key)

    async def _opened(self) -> None:
        """Be connected, for as long as it takes; after the loss of the connection with a new reply queue."""
        async with self._opening:
            # Not `is_closed`: that is about our own closing, and stays false when the broker closes.
            while not self._is_open or not self._client.connection.connected.is_set():
                self._is_open = False
                with contextlib.suppress(BrokerLost), broker_may_break():
                    await self._client.open()
                    self._is_open = True
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
