"""A screen that keeps what it is told."""


class Quiet:
    """In place of people: every step, and every word of progress by its name."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.progressed: dict[str, list[tuple[int, int]]] = {}

    def step(self, words: str) -> None:
        self.steps.append(words)

    def detail(self, words: str) -> None:
        self.steps.append(words)

    def progress(self, name: str, done: int, total: int) -> None:
        self.progressed.setdefault(name, []).append((done, total))
