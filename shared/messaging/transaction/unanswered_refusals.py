"""A refused command that nobody waits for becomes an error entry, so that nothing vanishes."""

import time
from collections import defaultdict, deque
from typing import Final, cast

from shared.contracts.errorlog import ErrorRaised
from shared.contracts.message import Message
from shared.contracts.refusals import Refused
from shared.messaging.inbound.validation import Request
from shared.messaging.unit_of_work import UnitOfWork

PER_MINUTE: Final = 60
"""Error entries that one sender may cause per minute; a broken sender must not drown the error log."""


class UnansweredRefusals:
    """Tells the error log, within a cap per sender."""

    def __init__(self, service: str) -> None:
        found = Message.registered.get(f"{service}.error.raised.v1")
        self._event = cast(type[ErrorRaised], found) if found is not None else None
        self._told: dict[str, deque[float]] = defaultdict(deque)

    async def __call__(self, work: UnitOfWork, request: Request, refusal: Refused) -> None:
        """Write the event that tells of the refusal."""
        if self._event is None or not self._may_tell(request.context.user):
            return
        reference = getattr(request.message, "reference_number", None)
        await work.publish(
            self._event(
                error_type="command_refused",
                title=f"{type(request.message).__name__} refused: {refusal.code}",
                note=refusal.detail,
                reference_number=reference,
                fingerprint=f"refused/{request.context.user}/{type(request.message).__name__}/{refusal.code}",
                facts=dict(refusal.facts),
            ),
            subject=reference,
        )

    def _may_tell(self, user: str) -> bool:
        now = time.monotonic()
        told = self._told[user]
        while told and told[0] < now - 60:
            told.popleft()
        if len(told) >= PER_MINUTE:
            return False
        told.append(now)
        return True
