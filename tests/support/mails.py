"""The mail catcher inside a test, with what it received."""

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller

from tests.support.ports import Ports
from tools.dev.mailcatcher import MAX_BYTES, Keeper


@dataclass(frozen=True)
class Mails:
    """Mails that an SMTP server accepted, one file each."""

    url: str
    folder: Path

    def all(self) -> list[EmailMessage]:
        """Every copy that was accepted, in the order of arrival."""
        files = sorted((self.folder / "new").iterdir(), key=lambda file: file.name)
        return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]

    def to(self, address: str) -> list[EmailMessage]:
        """The mails handed over for one address."""
        return [mail for mail in self.all() if address in str(mail["X-RcptTo"]).split(", ")]


@contextmanager
def catching_mails(folder: Path, ports: Ports) -> Iterator[Mails]:
    """An SMTP server on loopback, on one of these ports."""
    port = ports.take()
    keeper = Keeper(folder)
    controller = Controller(keeper, hostname="127.0.0.1", port=port, data_size_limit=MAX_BYTES, enable_SMTPUTF8=True)
    controller.start()
    try:
        yield Mails(f"smtp://127.0.0.1:{port}", folder)
    finally:
        controller.stop()
