"""A message that could not be handled, as the error log receives it."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class DeadLetter:
    """What failed, where, why, and all that is needed to handle it again. Card numbers in it are masked."""

    queue: str
    """The queue in which it failed; its first word is the service."""
    key: str
    exchange: str
    user: str
    client_id: str | None
    actor: str | None
    message_id: UUID | None
    correlation_id: str | None
    reason: str
    """A stable name: `invalid_body`, `attempts_used_up`, `missing_prerequisite`, `delivery_limit` …"""
    attempts: int
    handler: str | None
    error_type: str | None
    error_at: str | None
    """Our own stack frame, such as `services/purchases/refund/request.py:12 in request_refund`."""
    died_at: datetime
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    reference_number: str | None = None
    detail: str | None = None
