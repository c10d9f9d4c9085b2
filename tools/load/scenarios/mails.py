"""Mails that become due: from the moment at which each is due to the customer's mailbox."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from shared.ids import new_id
from tools.dev.services import SENDER
from tools.load.fill import Filled, fill_few
from tools.load.gun import Gun
from tools.load.scenario import Scenario
from tools.load.shots import RECEIPT, Shot
from tools.load.world import World

_AHEAD_SECONDS: Final = 1.0
TEXT: Final = "Thank you for your purchase. This line stands for one of those that a receipt has.\n" * 18
HTML: Final = f"<html><body>{'<tr><td>Product of a load test</td><td>1</td><td>19.99</td></tr>' * 80}</body></html>"
_COLUMNS: Final = (
    "id", "client_id", "reference_number", "email_type", "state", "language", "sender_name", "sender_address",
    "recipient", "subject", "text", "html", "message_id_header", "source_message_id", "correlation_id", "actor",
    "due_at", "attempts", "delays", "version", "created_by", "changed_by",
)  # fmt: skip


class Mails(Scenario):
    name: ClassVar[str] = "mails"
    summary: ClassVar[str] = "mails that become due, until they are in the customer's mailbox"
    rate: ClassVar[float] = 60

    def __init__(self) -> None:
        self.purchases: deque[Filled] = deque()

    async def prepare(self, world: World, count: int) -> None:
        """Purchases, so that each mail can be noted in the history of its own."""
        self.purchases.extend(await fill_few(world, count))

    def shots(self, world: World) -> Iterator[Shot]:
        while self.purchases:
            purchase = self.purchases.popleft()
            yield Shot("mail", "", b"", order=purchase.order, mail=RECEIPT, accepted=True,
                       facts={"reference_number": purchase.reference_number})  # fmt: skip

    async def run(self, world: World, gun: Gun, shots: Iterator[Shot], rate: float, seconds: float) -> None:
        """Store mails that become due at their planned times, and wait until the last is due."""
        begin = gun.now + _AHEAD_SECONDS
        due: list[Shot] = []
        for number in range(round(rate * seconds)):
            if (shot := next(shots, None)) is not None:
                gun.note(shot, begin + number / rate)
                due.append(shot)
        await store_mails(world, due, gun.began_at)
        await asyncio.sleep(max(0.0, begin + seconds - gun.now))


async def store_mails(world: World, shots: Sequence[Shot], began_at: float) -> None:
    """Store queued mails, due at the planned time of each."""
    rows = [_row(world.client_id, shot, datetime.fromtimestamp(began_at + shot.planned, UTC)) for shot in shots]
    async with world.database("notifications") as database:
        await database.copy_records_to_table("email", records=rows, columns=list(_COLUMNS))


def _row(client_id: str, shot: Shot, due_at: datetime) -> tuple[Any, ...]:
    number = shot.reference_number
    return (
        new_id(), client_id, number, RECEIPT, "queued", "en", "Load test", SENDER, f"customer.{number}@example.com",
        f"Your purchase {number}", TEXT, HTML, f"<load.{shot.message_id}@aftersale.example>", shot.message_id,
        str(shot.message_id), "service:load", due_at, 0, 0, 1, "service:load", "service:load",
    )  # fmt: skip


scenario = Mails()
