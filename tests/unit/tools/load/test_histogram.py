"""Percentiles are those of the values, to within a bucket."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.load.histogram import PERCENTILES, Histogram

_WIDEST_BUCKET = 1 / 128


@given(st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=300), st.sampled_from(PERCENTILES))
def test_a_percentile_is_at_most_a_bucket_above_the_exact_one(values: list[float], percent: float) -> None:
    exact = sorted(values)[max(1, -(-len(values) * int(percent * 10) // 1000)) - 1]
    found = Histogram.of(values).percentile(percent)
    assert exact - 1e-6 <= found <= exact * (1 + _WIDEST_BUCKET) + 2e-6


def test_the_tail_is_not_lost_among_many() -> None:
    choice = random.Random(1)
    values = [choice.uniform(0.001, 0.01) for _ in range(9_990)] + [5.0] * 10
    histogram = Histogram.of(values)
    assert histogram.percentile(99) < 0.011
    assert histogram.percentile(99.95) == pytest.approx(5.0, rel=_WIDEST_BUCKET)
    assert histogram.percentile(100) == 5.0
    assert histogram.mean == pytest.approx(sum(values) / len(values))


def test_nothing_measured_is_nothing() -> None:
    assert Histogram().table()["p99"] == 0.0
    assert Histogram().curve() == []


def test_the_curve_ends_with_everything() -> None:
    curve = Histogram.of([0.001, 0.002, 0.004, 1.0]).curve()
    assert [percent for percent, _ in curve] == [25, 50, 75, 100]
    assert curve[-1][1] == 1000.0
