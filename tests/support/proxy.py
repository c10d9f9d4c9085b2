"""A link that can fail: TCP to a server, which goes silent, or breaks, when a test says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit


@dataclass
class Link:
    """Passes bytes on between those who connect to it and the server."""

    host: str
    port: int
    open_: asyncio.Event = field(default_factory=asyncio.Event)
    """While this is not set nothing passes in either direction and nobody is told: a black hole."""
    here: int = 0
    swallowed: int = 0
    """Bytes that arrived in the black hole."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def url(self, url: str) -> str:
        """The same address, by way of this link."""
        parts = urlsplit(url)
        pair = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{pair}@127.0.0.1:{self.here}"))

    def go_silent(self) -> None:
        """Swallow everything, and let connections stand."""
        self.open_.clear()

    def heal(self) -> None:
        """Let new connections through. What was caught in the black hole never gets out of it."""
        self.cut()
        self.open_.set()

    def cut(self) -> None:
        """Break every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass_on(reader, there_writer))
                ways.create_task(self._pass_on(there_reader, writer))
        finally:
            self._writers -= both
            for one in both:
                one.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not self.open_.is_set():
                    self.swallowed += len(data)
                    continue
                writer.write(data)
                await writer.drain()
        # An end that comes during the silence is not passed on either.
        await self.open_.wait()
        writer.transport.abort()


@asynccontextmanager
async def link_to(url: str) -> AsyncIterator[Link]:
    """A link to the server of an address, open at first."""
    parts = urlsplit(url)
    link = Link(parts.hostname or "127.0.0.1", parts.port or 0)
    link.open_.set()
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    link.here = server.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        server.close()
        link.cut()
