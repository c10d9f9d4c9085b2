"""Reading what the mail catcher has received, as a customer would read it."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Final

from services.notifications.rendering.render import FALLBACK, LANGUAGES, load_texts

RECEIPT: Final = "receipt"
CONFIRMATION: Final = "refund"
_REFERENCE: Final = r"([1-9][0-9]{8})"
_AT_ONCE: Final = 500


@dataclass(frozen=True)
class ReceivedMail:
    """One copy of a mail in the folder."""

    file: str
    message_id: str
    kind: str
    """`receipt`, `refund`, or empty for a mail of another sort."""
    reference_number: str
    recipient: str
    """The one address in the header To, if the envelope says the same."""
    amount: int | None
    """The total that the text names, in minor units."""


def find_new_mails(maildir: Path, is_known: Callable[[str], bool]) -> Iterator[list[Path]]:
    """The mails that were not read before, some at a time."""
    batch: list[Path] = []
    for folder in (maildir / "new", maildir / "cur"):
        if not folder.is_dir():
            continue
        for file in folder.iterdir():
            if not is_known(_name(file)):
                batch.append(file)
            if len(batch) == _AT_ONCE:
                yield batch
                batch = []
    if batch:
        yield batch


def read_mails(files: Iterable[Path]) -> list[ReceivedMail]:
    """Read mails; one that a mail reader has moved away meanwhile is left for the next time."""
    found = []
    for file in files:
        try:
            found.append(read_mail(_name(file), file.read_bytes()))
        except FileNotFoundError:
            continue
    return found


def read_mail(name: str, content: bytes) -> ReceivedMail:
    """Take from a mail what the proof compares."""
    message = BytesParser(EmailMessage, policy=default).parsebytes(content)
    subject = str(message["Subject"] or "")
    language = str(message["Content-Language"] or FALLBACK)
    texts = load_texts(language if language in LANGUAGES else FALLBACK)
    kind, reference_number, amount = "", "", None
    for topic in (RECEIPT, CONFIRMATION):
        words = re.escape(texts[f"{topic}.subject"]).replace(r"\{reference\}", _REFERENCE)
        if match := re.fullmatch(words, subject):
            kind, reference_number = topic, match.group(1)
            amount = _amount_after(f"{texts[f'{topic}.total']}: ", _text(message))
    return ReceivedMail(
        file=name,
        message_id=str(message["Message-ID"] or ""),
        kind=kind,
        reference_number=reference_number,
        recipient=_recipient(message),
        amount=amount,
    )


def _name(file: Path) -> str:
    """A mail keeps this part of its name when a mail reader moves it."""
    return file.name.partition(":")[0]


def _text(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    return str(part.get_content()) if part is not None else ""


def _recipient(message: EmailMessage) -> str:
    header = message["To"]
    addresses = [address.addr_spec for address in header.addresses] if header is not None else []
    envelope = str(message["X-RcptTo"] or "")
    return addresses[0] if addresses == [envelope] else f"To: {', '.join(addresses)}, envelope: {envelope}"


def _amount_after(label: str, text: str) -> int | None:
    """The money in the last line that begins with the label, whatever marks its thousands and decimals."""
    lines = [line for line in text.splitlines() if line.startswith(label)]
    digits = "".join(character for character in lines[-1] if character.isdecimal()) if lines else ""
    return int(digits) if digits else None
