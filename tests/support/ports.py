"""Ports for the servers that a test starts, taken in a way that no other process of the machine gets them too."""

import socket
from dataclasses import dataclass, field


@dataclass
class Ports:
    """Ports of one owner, from the moment they are taken until it gives them back.

    A port that was merely found free may be somebody else's when it is used: another test's, or that of an outgoing
    connection. So each one stays bound here. Linux and macOS let a server that sets SO_REUSEADDR, as those of asyncio
    do, listen on a port that is bound and not listened to, and hand out a bound port to nobody else.
    """

    _bound: list[socket.socket] = field(default_factory=list)

    def take(self) -> int:
        """A port on loopback for a server that sets SO_REUSEADDR."""
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        self._bound.append(holder)
        return int(holder.getsockname()[1])

    def close(self) -> None:
        """Give all of them back."""
        while self._bound:
            self._bound.pop().close()
