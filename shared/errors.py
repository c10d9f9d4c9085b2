"""What is nobody's fault here."""


class Unavailable(Exception):
    """Something outside does not answer. The work is not at fault: wait and try again, without counting."""
