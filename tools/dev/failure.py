"""How setting up says what is wrong and what helps."""


class SetupFailed(Exception):
    """The system cannot be set up or started as asked. `hint` says what a person can do about it."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
