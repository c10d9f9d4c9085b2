"""What is sent, and what became of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from shared.contracts.message import Message, Query
from shared.ids import new_id

CHECKOUT: Final = "checkout"
CONSOLE: Final = "console"
RECEIPT: Final = "REC_CU"
CONFIRMATION: Final = "REF_CU"


@dataclass
class Shot:
    """One message at its planned time. Seconds count from the beginning of the run; None is `not (yet)`."""

    kind: str
    """Under which name it stands in the report."""
    key: str
    body: bytes
    sender: str = CHECKOUT
    order: str | None = None
    """The seller's order number that a command is about."""
    amount: int | None = None
    """What the command is to move, in minor units."""
    mail: str | None = None
    """The type of mail that must follow."""
    is_query: bool = False
    message_id: UUID = field(default_factory=new_id)
    planned: float = 0.0
    sent: float | None = None
    answered: float | None = None
    mailed: float | None = None
    accepted: bool = False
    code: str | None = None
    """Of the refusal, or why nothing is known."""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def reference_number(self) -> str:
        """Of the purchase, as the reply tells it."""
        return str(self.facts.get("reference_number", ""))

    @property
    def latency(self) -> float | None:
        """From the planned time to the reply."""
        return None if self.answered is None else self.answered - self.planned


def shot(kind: str, message: Message, **details: Any) -> Shot:
    """A message that is ready to be sent."""
    return Shot(
        kind,
        type(message).key,
        message.model_dump_json(exclude_none=True).encode(),
        is_query=isinstance(message, Query),
        **details,
    )


@dataclass
class Ledger:
    """Every shot of a run."""

    prefix: str
    """The order numbers of this run begin with it."""
    shots: list[Shot] = field(default_factory=list)
    began_at: float = 0.0
    """Unix time of the beginning."""
    late: float = 0.0
    """The longest time by which a message left after its planned time: beyond some milliseconds the generator, and
    not only the system, was short of processor time."""

    def of(self, *kinds: str) -> Iterator[Shot]:
        return (one for one in self.shots if one.kind in kinds)

    def accepted(self, *kinds: str) -> list[Shot]:
        return [one for one in self.of(*kinds) if one.accepted]

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(one.kind for one in self.shots))
