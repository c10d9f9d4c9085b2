"""What people see of a long run: steps and bars while it goes on, tables at the end. Plain lines without a terminal."""

import time
from types import TracebackType
from typing import Final, Protocol, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

_QUIET_SECONDS: Final = 10.0


class Screen(Protocol):
    """Where people see what goes on."""

    def step(self, words: str) -> None: ...

    def detail(self, words: str) -> None: ...

    def progress(self, name: str, done: int, total: int) -> None: ...


class Steps:
    """Steps as lines, and a bar where there is a terminal; elsewhere a line now and then.

    For a console on standard error, so that standard output is the result alone.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._complete: set[str] = set()
        self._progress = Progress(
            TextColumn("    {task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, words: str) -> None:
        """Say what is done next."""
        self._console.print(f"› {words}", markup=False, soft_wrap=True)

    def detail(self, words: str) -> None:
        """Say something about the step."""
        self._console.print(f"    {words}", markup=False, soft_wrap=True)

    def progress(self, name: str, done: int, total: int) -> None:
        """Say how far it is."""
        if self._console.is_terminal:
            bar = self._bars.get(name)
            if bar is None:
                bar = self._bars[name] = self._progress.add_task(name)
            self._progress.update(bar, completed=done, total=total)
            return
        now = time.monotonic()
        complete = done >= total
        if (complete and name not in self._complete) or now - self._said.setdefault(name, now) > _QUIET_SECONDS:
            self._said[name] = now
            self.detail(f"{name}: {done:,} of {total:,}")
        if complete:
            self._complete.add(name)


def table(title: str, first: str, *others: str) -> Table:
    """A table whose first column is words and whose others are figures."""
    made = Table(
        title=f"\n{title}", title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1)
    )
    made.add_column(first, no_wrap=True)
    for heading in others:
        made.add_column(heading, justify="right", no_wrap=True)
    return made
