"""Figures from `/metrics` are those of the run alone."""

import pytest

from tools.load.measured import Handled, between

INF = float("inf")


def test_only_what_came_in_between_counts() -> None:
    before = {"purchases.x": Handled({0.01: 100, 0.1: 100, INF: 100}, 100, 0.5)}
    after = {"purchases.x": Handled({0.01: 150, 0.1: 200, INF: 200}, 200, 5.5), "purchases.idle": Handled({}, 0, 0)}
    found = between(before, after)
    assert list(found) == ["purchases.x"]
    assert found["purchases.x"]["count"] == 100
    assert found["purchases.x"]["mean"] == pytest.approx(50)
    assert found["purchases.x"]["p50"] == pytest.approx(10)
    assert found["purchases.x"]["p99"] == pytest.approx(98.2, abs=0.1)


def test_beyond_the_last_limit_the_limit_is_told() -> None:
    assert Handled({0.1: 0, INF: 10}, 10, 99).percentile(50) == 0.1
