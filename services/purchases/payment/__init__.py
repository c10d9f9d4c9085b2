"""Money that has arrived."""
