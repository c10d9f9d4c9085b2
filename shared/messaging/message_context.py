"""Where a piece of work comes from: what every message and every written row of it carries on."""

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True)
class MessageContext:
    """Who wanted it, for which client, in which flow."""

    client_id: str
    """The seller's account; `*` for all clients, in queries only."""
    actor: str
    """`user:<name>` or `service:<name>`."""
    message_id: UUID | None
    """The message that caused the work: the causation id of all that follows. Queries need none."""
    correlation_id: str
    """The flow, from the first message to the last mail."""
    traceparent: str | None = None
    """W3C trace context of the span in which the work runs."""
    user: str = field(default="")
    """The broker user that sent the message, proved by the broker."""
    routing_key: str = ""
    """The key of the message; its first word is the service that published an event."""
    reason: str | None = None
    """Why, in the words of whoever wants it; it may tell of a person, so anonymizing removes it."""
