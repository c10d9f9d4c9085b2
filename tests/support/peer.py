"""Another system, as seen by ours: a broker user with its own reply queue."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tools.client import Answer
from tools.client import Client as Peer

__all__ = ["Answer", "Peer", "peer"]


@asynccontextmanager
async def peer(url: str, *, client: str = "demo-shop", actor: str = "service:checkout") -> AsyncIterator[Peer]:
    """A connected peer."""
    opened = await Peer(url, client=client, actor=actor, app="test").open()
    try:
        yield opened
    finally:
        await opened.close()
