"""Handing mails to the SMTP server: the port, and its adapter over a few connections that are kept open."""

import asyncio
import ipaddress
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email.errors import MessageError
from pathlib import Path
from typing import Final, Protocol, Self
from urllib.parse import SplitResult, unquote, urlsplit

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponseException

from services.notifications.dispatch.rules import Answer, Outcome, Stage, classify, without_addresses
from services.notifications.smtp.mime import OutgoingMail
from shared.errors import Unavailable
from shared.observability.logs import logger

_PORTS: Final = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
_LONGEST_IDLE_SECONDS: Final = 20
"""Servers drop idle clients; a connection older than this is opened anew."""
_QUIT_SECONDS: Final = 2
_CLOSING: Final = 421


class MailTransport(Protocol):
    """What the dispatcher needs of the outside world."""

    async def deliver(self, mail: OutgoingMail) -> Answer:
        """Try to hand over one mail. Raises Unavailable if the server cannot be talked to at all."""
        ...

    async def probe(self) -> None:
        """Raises Unavailable while the server cannot be talked to."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class SmtpServer:
    """Where the SMTP server is and how to talk to it."""

    host: str
    port: int
    tls: bool
    """TLS from the first byte."""
    start_tls: bool
    """TLS by STARTTLS, or no conversation at all: never the silent fallback to plain text."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read a setting. Raises ValueError without repeating any part of it."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("is not a URL") from None
        if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise ValueError("must be smtp://, smtps:// or smtp+starttls:// with [user:password@]host[:port]")
        if parts.username and parts.scheme == "smtp" and not _is_this_machine(parts):
            raise ValueError("a password needs smtps:// or smtp+starttls://, it would travel in plain text")
        return cls(
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            tls=parts.scheme == "smtps",
            start_tls=parts.scheme == "smtp+starttls",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )


def _is_this_machine(parts: SplitResult) -> bool:
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


@dataclass
class _Connection:
    client: aiosmtplib.SMTP
    mails: int = 0
    last_used: float = field(default_factory=time.monotonic)

    @property
    def is_fresh(self) -> bool:
        return self.mails == 0

    def is_usable(self, mails_per_connection: int) -> bool:
        return (
            self.client.is_connected
            and self.mails < mails_per_connection
            and time.monotonic() - self.last_used < _LONGEST_IDLE_SECONDS
        )

    async def quit(self) -> None:
        with suppress(SMTPException, OSError):
            await self.client.quit(timeout=_QUIT_SECONDS)
        self.client.close()


class _LostBeforeContent(Exception):
    """A kept connection turned out to be at its end before anything of the mail could have been taken."""


class SmtpTransport:
    """SMTP with at most `connections` connections, each used for many mails and reopened when it broke."""

    def __init__(
        self,
        server: SmtpServer,
        *,
        connections: int,
        timeout: float,
        mails_per_connection: int = 100,
        ca_file: Path | None = None,
        local_hostname: str = "localhost",
    ) -> None:
        self._server = server
        self._timeout = timeout
        self._mails_per_connection = mails_per_connection
        self._local_hostname = local_hostname
        self._idle: list[_Connection] = []
        self._slots = asyncio.Semaphore(connections)
        self._tls = ssl.create_default_context(cafile=ca_file) if server.tls or server.start_tls else None

    async def deliver(self, mail: OutgoingMail) -> Answer:
        """Hand over one mail. A mail the server cannot take now or ever is an answer; no server is Unavailable."""
        try:
            content = mail.content()
        except (ValueError, MessageError) as error:
            return Answer(Outcome.PERMANENT, None, f"No mail can be made of it: {without_addresses(str(error))}")
        async with self._slots:
            while True:
                connection = await self._connection()
                try:
                    answer = await self._converse(connection, mail, content)
                except _LostBeforeContent:
                    continue
                except BaseException:
                    connection.client.close()
                    raise
                await self._keep(connection)
                return answer

    async def probe(self) -> None:
        """Open a connection and log in, or raise Unavailable."""
        async with self._slots:
            await self._keep(await self._connection())

    async def close(self) -> None:
        """Say good-bye on every idle connection."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.quit()

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable(self._mails_per_connection):
                return connection
            await connection.quit()
        client = aiosmtplib.SMTP(
            hostname=self._server.host,
            port=self._server.port,
            username=self._server.username,
            password=self._server.password,
            use_tls=self._server.tls,
            start_tls=self._server.start_tls,
            tls_context=self._tls,
            timeout=self._timeout,
            local_hostname=self._local_hostname,
        )
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except (SMTPException, OSError) as error:
            client.close()
            raise Unavailable(_words(error)) from error
        return _Connection(client)

    async def _keep(self, connection: _Connection) -> None:
        if not connection.client.is_connected:
            return
        if connection.mails >= self._mails_per_connection:
            await connection.quit()
            return
        connection.last_used = time.monotonic()
        self._idle.append(connection)

    async def _converse(self, connection: _Connection, mail: OutgoingMail, content: bytes) -> Answer:
        client, was_fresh = connection.client, connection.is_fresh
        connection.mails += 1
        if not mail.is_ascii and not client.supports_extension("smtputf8"):
            mail = mail.with_plain_copies()
            content = mail.content()
        international = not mail.is_ascii
        if international and not client.supports_extension("smtputf8"):
            return Answer(Outcome.PERMANENT, None, "The mail server does not take addresses with such letters.")
        encoding = "utf-8" if international else "ascii"
        stage = Stage.SENDER
        try:
            await client.mail(mail.sender_address, options=_options(client, content, international), encoding=encoding)
            stage = Stage.RECIPIENT
            await client.rcpt(mail.envelope_recipient, encoding=encoding)
            await _name_copies(client, mail, encoding)
            stage = Stage.CONTENT
            response = await client.data(content)
        except SMTPResponseException as error:
            if error.code == _CLOSING and stage is Stage.SENDER and not was_fresh:
                client.close()
                raise _LostBeforeContent from error
            return await self._refused(client, stage, error)
        except (SMTPException, OSError) as error:
            client.close()
            if stage is Stage.SENDER and not was_fresh:
                raise _LostBeforeContent from error
            return _answer(stage, None, _words(error))
        return _answer(stage, response.code, without_addresses(response.message))

    async def _refused(self, client: aiosmtplib.SMTP, stage: Stage, error: SMTPResponseException) -> Answer:
        with suppress(SMTPException, OSError):
            await client.rset()
        return _answer(stage, error.code, without_addresses(error.message))


async def _name_copies(client: aiosmtplib.SMTP, mail: OutgoingMail, encoding: str) -> None:
    """A copy that the server refuses is left out: the recipient gets the mail all the same."""
    for address in mail.envelope_copies:
        try:
            await client.rcpt(address, encoding=encoding)
        except SMTPResponseException as error:
            if error.code == _CLOSING:
                raise
            logger().warning("copy_refused", smtp_code=error.code, email_id=str(mail.email_id))


def _options(client: aiosmtplib.SMTP, content: bytes, international: bool) -> list[str]:
    options = [f"SIZE={len(content)}"] if client.supports_extension("size") else []
    return [*options, "SMTPUTF8", "BODY=8BITMIME"] if international else options


def _answer(stage: Stage, code: int | None, words: str) -> Answer:
    """Raises Unavailable where the answer is about us and not about this mail."""
    outcome = classify(stage, code)
    if outcome is None:
        raise Unavailable(f"{code or ''} {words}".strip())
    return Answer(outcome, code, words)


def _words(error: Exception) -> str:
    """What happened, for people, without an address or a secret."""
    if isinstance(error, SMTPResponseException):
        return f"{error.code} {without_addresses(error.message)}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, SMTPException):
        return without_addresses(error.message)
    return type(error).__name__
