"""What an SMTP answer means for a mail, and when a mail is tried again. Pure.

Rules: docs/domain.md, "Sending e-mails".
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shared.outside_text import outside_line

RETRY_DELAYS: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
LONGEST_DELAY: Final = timedelta(hours=4)
GIVE_UP_AFTER: Final = timedelta(days=4)


class Outcome(StrEnum):
    """What became of one try to send a mail."""

    ACCEPTED = "accepted"
    TRANSIENT = "transient"
    """Not now: tried again on the ladder."""
    PERMANENT = "permanent"
    """Never: the mail bounces and is not tried again."""
    UNKNOWN = "unknown"
    """The connection broke after the content was on its way: tried again under the same Message-ID."""


class Stage(StrEnum):
    """How far the talk with the SMTP server had come."""

    GREETING = "greeting"
    """Connection, TLS, EHLO and log-in: nothing of this mail was said yet."""
    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"


@dataclass(frozen=True)
class Answer:
    """What came of one try: the outcome, and the server's own code and words where there were any."""

    outcome: Outcome
    code: int | None = None
    detail: str | None = None

    @property
    def is_accepted(self) -> bool:
        return self.outcome is Outcome.ACCEPTED

    @property
    def words(self) -> str:
        """What the server said, for people."""
        return " ".join(str(part) for part in (self.code, self.detail) if part) or "no answer"


_OK: Final = range(200, 300)
_NEVER: Final = range(500, 600)
_LOG_IN_FIRST: Final = frozenset({530, 534, 535, 538})
_TOO_LARGE: Final = 552
_PARAMETERS_NOT_TAKEN: Final = 555


def classify(stage: Stage, code: int | None) -> Outcome | None:
    """What a server's answer means for a mail; None: the trouble is between us and the server, not this mail's.

    No code means that the connection broke or the answer did not come in time. A refused sender is the same for
    every mail, so it is the server that has to be talked to, except where the mail is too large.
    docs/domain.md, "Sending e-mails"; RFC 5321, sections 4.2 and 4.5.
    """
    if stage is Stage.GREETING or code in _LOG_IN_FIRST:
        return None
    if code is None:
        return Outcome.UNKNOWN if stage is Stage.CONTENT else Outcome.TRANSIENT
    if code in _OK:
        return Outcome.ACCEPTED
    if code not in _NEVER:
        return Outcome.TRANSIENT
    if stage is Stage.SENDER and code not in (_TOO_LARGE, _PARAMETERS_NOT_TAKEN):
        return None
    return Outcome.PERMANENT


def next_try(delays: int, first_delayed_at: datetime, now: datetime) -> datetime | None:
    """When to try again after the given number of tries without success; None: give the mail up.

    1 minute, 5 minutes, 30 minutes, 2 hours, then every 4 hours, for 4 days since the first.
    docs/domain.md, "Sending e-mails"; RFC 5321, section 4.5.4.1.
    """
    step = RETRY_DELAYS[delays - 1] if delays <= len(RETRY_DELAYS) else LONGEST_DELAY
    return now + step if now + step <= first_delayed_at + GIVE_UP_AFTER else None


_ADDRESS: Final = re.compile(r"<?[^\s<>@]{1,64}@[^\s<>@]{1,255}>?")
_LONGEST_DETAIL: Final = 500


def without_addresses(words: str) -> str:
    """A server's words on one line without the addresses that servers like to repeat: they go into events and logs."""
    return outside_line(_ADDRESS.sub("<address>", words), fallback="", longest=_LONGEST_DETAIL)
