"""A benchmark that has become slower says so."""

from pathlib import Path

import pytest

from benchmarks import bounds
from benchmarks.bounds import BOUNDS, fallen


def test_what_holds_is_not_named() -> None:
    assert fallen(dict(BOUNDS)) == []
    assert fallen({}) == []


@pytest.mark.parametrize("name", BOUNDS)
def test_what_has_fallen_is_named_with_its_bound(name: str) -> None:
    (words,) = fallen(dict(BOUNDS) | {name: 0.01})
    assert name in words
    assert str(BOUNDS[name]) in words


@pytest.mark.parametrize("name", BOUNDS)
def test_every_bound_is_of_a_ratio_that_a_benchmark_takes(name: str) -> None:
    """Read, not imported: the messages of the benchmark's services are none of the product's."""
    folder = Path(bounds.__file__).parent
    assert any(f'"{name}"' in (folder / file).read_text() for file in ("one_hop.py", "mails.py"))
