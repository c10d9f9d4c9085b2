"""From the broker to a message that may be handled."""
