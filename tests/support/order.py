"""The order of test files in a run on several workers."""

from pathlib import Path
from typing import Final

import pytest

_FIRST: Final = ("chaos/", "integration/messaging/test_bad_input", "e2e/", "integration/messaging/", "integration/")
"""Beginnings of paths, the longest file first; a file stays on one worker from its first test to its last."""


def longest_first(items: list[pytest.Item], *, root: Path) -> None:
    """Sort tests so that the files that take longest begin first. The tests of a file keep their order."""
    items.sort(key=lambda item: _rank(item.path.relative_to(root).as_posix()))


def _rank(file: str) -> int:
    return next((rank for rank, beginning in enumerate(_FIRST) if file.startswith(beginning)), len(_FIRST))
