"""An SMTP server that delivers nothing and keeps everything, in a Maildir that any mail reader opens.

`python -m tools.dev.mailcatcher PORT FOLDER [HOST]`. A mail is acknowledged only once it is safely in the folder, so
what a sender was told is there after a crash too.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from itertools import count
from pathlib import Path
from typing import Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

MAX_BYTES: Final = 25 * 1024 * 1024
_FOLDERS: Final = ("tmp", "new", "cur")


class Keeper:
    """Writes each accepted mail into its own file, with the envelope in `X-` headers on top."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Keep the mail, then accept it."""
        content = envelope.content or b""
        await asyncio.to_thread(self._keep, _envelope_headers(envelope) + _as_bytes(content))
        return "250 OK kept"

    def _keep(self, content: bytes) -> None:
        name = f"{time.time_ns()}.{os.getpid()}_{next(self._numbers)}.{socket.gethostname()}"
        new = self._folder / "tmp" / name
        with new.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self._folder / "new" / name)


def _envelope_headers(envelope: Envelope) -> bytes:
    receivers = ", ".join(envelope.rcpt_tos)
    return f"X-MailFrom: {envelope.mail_from}\r\nX-RcptTo: {receivers}\r\n".encode("utf-8", "surrogateescape")


def _as_bytes(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")


def main(port: int, folder: Path, host: str = "127.0.0.1") -> None:
    """Serve until SIGTERM or SIGINT."""
    controller = Controller(Keeper(folder), hostname=host, port=port, data_size_limit=MAX_BYTES, enable_SMTPUTF8=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    controller.start()
    print(f"keeping mails for {host}:{port} in {folder}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    controller.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
