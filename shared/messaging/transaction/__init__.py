"""One transaction per message or batch: inbox, outbox, and what they share."""
