"""A real SMTP server that misbehaves on demand; what a recipient's local part says is what happens."""

import asyncio
import email
import email.policy
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


@dataclass(frozen=True)
class Received:
    """One mail that the server took, whether or not it could say so."""

    recipient: str
    content: bytes
    copies: tuple[str, ...] = ()
    """Who else stood in the envelope."""

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=email.policy.SMTP)

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])


@dataclass
class SmtpServer:
    """Local parts: `unknown` 550, `greylist` 451 once, `full` 452 and `spam` 554 to the content, `drop` breaks off
    within the content, `taken` takes the mail and breaks off before saying so, `hangup` at RCPT, `slow` waits,
    `hanging` until `go_on` is set.
    """

    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    slow_seconds: float = 5.0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    size_limit: int = 1_000_000
    international: bool = True
    sender_refused: str | None = None
    second_mail: str | None = None
    """Said to a second mail on the same connection before hanging up; empty: nothing is said."""
    greeting: str | None = None
    """Said instead of the usual greeting, before hanging up."""
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    heard: asyncio.Condition = field(default_factory=asyncio.Condition)
    logged_in: list[bytes] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _sessions: set["_Conversation"] = field(default_factory=set)

    async def start(self) -> None:
        """Listen; on the same port as before if it ran before."""
        loop = asyncio.get_running_loop()
        context = self.tls if self.implicit_tls else None
        self._server = await loop.create_server(lambda: _Conversation(self), "127.0.0.1", self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be gone at once, open connections included."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.hang_up()
        if self._server is not None:
            await self._server.wait_closed()
        self._server = None

    async def heard_of(self, recipient: str, times: int = 1) -> None:
        """Wait until somebody has named this recipient so often."""
        async with self.heard:
            await self.heard.wait_for(lambda: self.seen[recipient] >= times)

    def of(self, recipient: str) -> list[Received]:
        return [mail for mail in self.received if mail.recipient == recipient]


@asynccontextmanager
async def running(server: SmtpServer) -> AsyncIterator[SmtpServer]:
    """The server, listening while the block runs."""
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class _Faults:
    def __init__(self, server: SmtpServer) -> None:
        self._server = server

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, smtp: "_Conversation", _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        smtp.mails += 1
        if smtp.mails > 1 and self._server.second_mail is not None:
            if self._server.second_mail:
                await smtp.push(self._server.second_mail)
            smtp.hang_up()
        if self._server.sender_refused:
            return self._server.sender_refused
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, smtp: "_Conversation", _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        fault = address.partition("@")[0]
        self._server.seen[address] += 1
        async with self._server.heard:
            self._server.heard.notify_all()
        if fault == "unknown":
            return f"550 5.1.1 <{address}>: user unknown"
        if fault == "greylist" and self._server.seen[address] == 1:
            return "451 4.7.1 greylisted, come back later"
        if fault == "hangup":
            smtp.hang_up()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, smtp: "_Conversation", _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        fault = envelope.rcpt_tos[0].partition("@")[0]
        if fault == "slow":
            await asyncio.sleep(self._server.slow_seconds)
        if fault == "hanging":
            await self._server.go_on.wait()
        if fault == "full":
            return "452 4.3.1 insufficient storage"
        if fault == "spam":
            return "554 5.6.0 content rejected"
        content = envelope.content
        assert isinstance(content, bytes)
        self._server.received.append(Received(envelope.rcpt_tos[0], content, tuple(envelope.rcpt_tos[1:])))
        if fault == "taken" and len(self._server.of(envelope.rcpt_tos[0])) == 1:
            smtp.hang_up()
        return "250 2.0.0 taken"


class _Conversation(SMTP):
    def __init__(self, server: SmtpServer) -> None:
        self._mail_server = server
        self.mails = 0
        super().__init__(
            _Faults(server),
            data_size_limit=server.size_limit,
            enable_SMTPUTF8=server.international,
            tls_context=None if server.implicit_tls else server.tls,
            authenticator=self._log_in,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )

    def hang_up(self) -> None:
        """Break the connection off without a word."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._mail_server.connections += 1
        self._mail_server._sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._mail_server._sessions.discard(self)
        super().connection_lost(error)

    async def _handle_client(self) -> None:
        if self._mail_server.greeting is not None:
            await self.push(self._mail_server.greeting)
            self.hang_up()
            return
        await super()._handle_client()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        if self.envelope and self.envelope.rcpt_tos and self.envelope.rcpt_tos[0].startswith("drop@"):
            await self.push("354 go on")
            await self._reader.readline()
            self.hang_up()
            return
        await super().smtp_DATA(arg)

    def _log_in(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, credentials: Any
    ) -> AuthResult:
        self._mail_server.logged_in.append(credentials.login)
        return AuthResult(success=credentials.password == b"right", handled=False)
