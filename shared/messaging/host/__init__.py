"""A running service: its parts put together, watched and stopped in order."""
