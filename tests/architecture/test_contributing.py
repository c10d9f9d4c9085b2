"""CONTRIBUTING.md names real places: each row of its tables is walked, so that a moved file is moved there too."""

import re
from collections.abc import Iterator

import pytest

from tests.architecture.test_rules import ROOT

ROW = re.compile(r"^\| [^|]+ \| `([^`]+)` \| `([^`]+)` \|$")


def places() -> Iterator[tuple[str, str]]:
    for line in (ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines():
        if found := ROW.match(line.replace("\\|", "¦")):
            yield found[1], found[2].replace("¦", "|")


def test_every_row_is_read() -> None:
    rows = [line for line in (ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    headings = [row for row in rows if row.startswith("| what | where |")]
    assert len(headings) >= 3
    assert len(rows) - len(headings) == len(list(places()))


@pytest.mark.parametrize(("file", "text"), list(places()))
def test_the_place_is_there(file: str, text: str) -> None:
    assert (ROOT / file).is_file(), f"CONTRIBUTING.md names {file}"
    assert text in (ROOT / file).read_text("utf-8"), f"CONTRIBUTING.md looks for {text!r} in {file}"
