"""From the outbox to the broker, and replies."""
