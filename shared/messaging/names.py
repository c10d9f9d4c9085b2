"""Names on the broker. They are an interface: other services and operators know them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

COMMANDS: Final = "aftersale.commands"
EVENTS: Final = "aftersale.events"
REPLIES: Final = "aftersale.replies"
RETRY: Final = "aftersale.retry"
RETURN: Final = "aftersale.return"
DEAD: Final = "aftersale.dead"
DEAD_LETTERS: Final = "errorlog.dead-letters"
PARKED: Final = "aftersale.parked"
PARKED_QUEUE: Final = "errorlog.parked"
"""Where the error log puts what it cannot handle itself. Nobody consumes it; an alert watches it."""


@dataclass(frozen=True)
class Delay:
    """One step of the retry ladder."""

    name: str
    milliseconds: int

    @property
    def queue(self) -> str:
        return f"{RETRY}.{self.name}"


RETRY_DELAYS: Final = (
    Delay("10s", 10_000),
    Delay("1m", 60_000),
    Delay("10m", 600_000),
    Delay("1h", 3_600_000),
)


class QueueKind(StrEnum):
    """A service has one queue per kind, so that what a sender sends in order is handled in order."""

    COMMANDS = "commands"
    EVENTS = "events"
    QUERIES = "queries"


def queue_name(service: str, kind: QueueKind) -> str:
    """The queue of a service for one kind of message."""
    return f"{service}.{kind}"
