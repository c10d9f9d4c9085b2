"""Money that goes back: asked for, promised, paid out by a provider, booked."""
