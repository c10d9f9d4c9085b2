"""The mail on the wire, built from the stored parts and nothing else."""

import re
from binascii import b2a_qp
from dataclasses import dataclass, replace
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from functools import cached_property, lru_cache
from typing import Final, Self
from uuid import UUID

from email_validator import validate_email

_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,.:;!?'()/+@_-]{0,59}")
"""A header value that stands for itself: short, ASCII, nothing with a meaning of its own."""
_PLAIN_ADDRESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,30}@[a-z0-9][a-z0-9.-]{0,40}")

_PLAIN_MESSAGE_ID: Final = re.compile(r"(?=.{1,64}\Z)<[A-Za-z0-9.-]+@[a-z0-9.-]+>")
"""One that fits into its line, as ours do unless the domain is long."""


@dataclass(frozen=True)
class OutgoingMail:
    """A stored mail on its way out. `sent_at` becomes the Date; everything else is the same in every copy."""

    email_id: UUID
    message_id_header: str
    sender_name: str
    sender_address: str
    recipient: str
    subject: str
    language: str
    text: str
    html: str
    sent_at: datetime
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    """In the envelope only."""

    @cached_property
    def envelope_recipient(self) -> str:
        """The address with its domain in ASCII where that is possible, so that most servers can take it."""
        return _for_envelope(self.recipient)

    @cached_property
    def envelope_copies(self) -> tuple[str, ...]:
        """Who gets the mail beside its recipient."""
        return tuple(map(_for_envelope, (*self.cc, *self.bcc)))

    def with_plain_copies(self) -> Self:
        """The mail without copies to addresses that need SMTPUTF8: they must not keep it from its recipient."""
        plain = [tuple(one for one in some if _for_envelope(one).isascii()) for some in (self.cc, self.bcc)]
        return replace(self, cc=plain[0], bcc=plain[1])

    @cached_property
    def is_ascii(self) -> bool:
        """Whether the addresses fit into plain SMTP; otherwise the server must know SMTPUTF8 (RFC 6531)."""
        return all(one.isascii() for one in (self.envelope_recipient, self.sender_address, *self.envelope_copies))

    def content(self) -> bytes:
        """The message with its headers: text and HTML, lines of at most 78 characters.

        Put together by hand, since the library's own way takes most of the time of sending a mail; it still writes
        every header that needs encoding. Raises ValueError if a header holds a line break.
        """
        utf8 = not self.is_ascii
        boundary = f"=_{self.email_id.hex}"
        head = (
            _address_header("From", self.sender_address, self.sender_name, utf8),
            _address_header("To", self.envelope_recipient, "", utf8),
            _copies_header(self.cc, utf8),
            _text_header("Subject", self.subject, utf8),
            _text_header("Message-ID", self.message_id_header, utf8),
            f"Date: {format_datetime(self.sent_at)}\r\n".encode(),
            b"Auto-Submitted: auto-generated\r\n",
            f"Content-Language: {self.language}\r\n".encode(),
            b"MIME-Version: 1.0\r\n",
            f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'.encode(),
        )
        delimiter = f"--{boundary}\r\n".encode()
        end = f"--{boundary}--\r\n".encode()
        return b"".join((*head, delimiter, _part("plain", self.text), delimiter, _part("html", self.html), end))


def _part(subtype: str, content: str) -> bytes:
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    encoded = b2a_qp(content.replace("\r\n", "\n").encode(), istext=True)
    return head.encode() + encoded.replace(b"\n", b"\r\n") + b"\r\n"


def _text_header(name: str, value: str, utf8: bool) -> bytes:
    if _PLAIN_VALUE.fullmatch(value) or _PLAIN_MESSAGE_ID.fullmatch(value):
        return f"{name}: {value}\r\n".encode()
    return _encoded(name, value, utf8)


@lru_cache(maxsize=1_000)
def _address_header(name: str, address: str, display_name: str, utf8: bool) -> bytes:
    if not display_name and _PLAIN_ADDRESS.fullmatch(address):
        return f"{name}: {address}\r\n".encode()
    local_part, _, domain = address.rpartition("@")
    return _encoded(name, Address(display_name, local_part, domain), utf8)


@lru_cache(maxsize=1_000)
def _copies_header(addresses: tuple[str, ...], utf8: bool) -> bytes:
    if not addresses:
        return b""
    parts = [_for_envelope(address).rpartition("@") for address in addresses]
    return _encoded("Cc", tuple(Address("", local_part, domain) for local_part, _, domain in parts), utf8)


def _for_envelope(address: str) -> str:
    if _PLAIN_ADDRESS.fullmatch(address):
        return address
    valid = validate_email(address, check_deliverability=False)
    return valid.ascii_email or valid.normalized


def _encoded(name: str, value: str | Address | tuple[Address, ...], utf8: bool) -> bytes:
    message = EmailMessage(policy=SMTPUTF8 if utf8 else SMTP)
    message[name] = value
    return message.as_bytes().removesuffix(b"\r\n")
