"""Which state of a mail may follow which, and what may be done with a mail now. Pure.

Rules: docs/domain.md, "E-mail states".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypedDict

from shared.contracts.notifications import EmailState
from shared.contracts.refusals import Refused

UNDO_WINDOW: Final = timedelta(minutes=5)
"""How long a mail that a person queued waits, so that Hold means something. docs/domain.md, "E-mail states"."""
LONGEST_UNDO_WINDOW: Final = timedelta(minutes=15)


class Action(StrEnum):
    """What a person may want of a mail."""

    HOLD = "hold"
    QUEUE = "queue"
    SEND = "send"


class MailFacts(TypedDict):
    """What a refusal says of a mail."""

    state: str
    version: int


@dataclass(frozen=True)
class Mail:
    """What the rules want to know of a mail."""

    state: EmailState
    version: int = 1
    is_anonymized: bool = False

    @property
    def facts(self) -> MailFacts:
        """What a refusal says of this mail."""
        return {"state": self.state.value, "version": self.version}


def check_hold(mail: Mail) -> None:
    """Raises Refused `email_anonymized`, `email_being_sent`, `email_already_held`, `email_already_sent`,
    `email_not_queued`.
    """
    check_send(mail)
    if mail.state is EmailState.HOLD:
        raise Refused("email_already_held", "The mail is held already.", **mail.facts)
    if mail.state is EmailState.SENT:
        raise Refused("email_already_sent", "The mail has left; it cannot be held back.", **mail.facts)
    if mail.state is EmailState.BOUNCED:
        raise Refused("email_not_queued", "The mail bounced; nothing is waiting to go out.", **mail.facts)
    if mail.state is EmailState.FAILED:
        raise Refused("email_not_queued", "The mail was given up; nothing is waiting.", **mail.facts)


def check_queue(mail: Mail) -> None:
    """Raises Refused `email_anonymized`, `email_being_sent`, `email_already_queued`."""
    check_send(mail)
    if mail.state is EmailState.QUEUED:
        raise Refused("email_already_queued", "The mail goes out by itself already.", **mail.facts)


def check_send(mail: Mail) -> None:
    """Raises Refused `email_anonymized`, `email_being_sent`."""
    if mail.is_anonymized:
        raise Refused("email_anonymized", "The personal data of the customer have been removed.", **mail.facts)
    if mail.state is EmailState.SENDING:
        raise Refused("email_being_sent", "The mail is being handed to the mail server right now.", **mail.facts)


CHECKS: Final[Mapping[str, Callable[[Mail], None]]] = {
    Action.HOLD.value: check_hold,
    Action.QUEUE.value: check_queue,
    Action.SEND.value: check_send,
}
"""What may refuse each action, and so tells whether it is allowed."""

_MOVES: Final = {
    EmailState.QUEUED: {EmailState.HOLD, EmailState.QUEUED, EmailState.SENDING, EmailState.FAILED},
    EmailState.HOLD: {EmailState.QUEUED, EmailState.FAILED},
    EmailState.SENDING: {
        EmailState.QUEUED,
        EmailState.SENDING,
        EmailState.SENT,
        EmailState.BOUNCED,
        EmailState.FAILED,
    },
    EmailState.SENT: {EmailState.QUEUED},
    EmailState.BOUNCED: {EmailState.QUEUED},
    EmailState.FAILED: {EmailState.QUEUED},
}


def may_become(state: EmailState, following: EmailState) -> bool:
    """Whether a mail in one state may move to another at all, by a person or by the dispatcher."""
    return following in _MOVES[state]
