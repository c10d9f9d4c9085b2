"""Latencies in an HdrHistogram: small, exact to 0.8 %, never sampled."""

import math
from collections.abc import Iterable
from typing import Final

from hdrh.histogram import HdrHistogram

PERCENTILES: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
_LONGEST: Final = 24 * 3600 * 1_000_000
"""In microseconds. What took longer counts as this long."""
_DIGITS: Final = 2
"""Two give 128 buckets for each doubling."""


class Histogram:
    """Counts of durations in seconds, kept in whole microseconds."""

    def __init__(self) -> None:
        self._counts = HdrHistogram(1, _LONGEST, _DIGITS)
        self._total = 0.0

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Histogram":
        histogram = cls()
        for value in seconds:
            histogram.add(value)
        return histogram

    def add(self, seconds: float) -> None:
        """Count one. What is below zero by the difference of two clocks counts as zero."""
        seconds = max(0.0, seconds)
        self._counts.record_value(min(round(seconds * 1_000_000), _LONGEST))
        self._total += seconds

    @property
    def count(self) -> int:
        return int(self._counts.total_count)

    @property
    def mean(self) -> float:
        """In seconds; of the values themselves, not of their buckets."""
        return self._total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The duration that so many percent do not exceed, in seconds: the upper end of its bucket."""
        if not self.count:
            return 0.0
        # HdrHistogram rounds the rank to the nearest one, so that fewer than so many percent might be covered.
        rank = max(1, math.ceil(self.count * percent / 100 - 1e-9))
        return self._at_most(self._counts.get_value_at_percentile(100 * rank / self.count)) / 1_000_000

    def table(self) -> dict[str, float]:
        """The usual percentiles in milliseconds."""
        return {f"p{percent:g}": round(self.percentile(percent) * 1000, 3) for percent in PERCENTILES}

    def curve(self) -> list[tuple[float, float]]:
        """Percent and milliseconds of every bucket that holds something, for the plot."""
        return [
            (100 * bucket.total_count_to_this_value / self.count, self._at_most(bucket.value_iterated_to) / 1000)
            for bucket in self._counts.get_recorded_iterator()
        ]

    def _at_most(self, microseconds: int) -> int:
        """The last bucket goes no further than what was measured."""
        return min(microseconds, int(self._counts.max_value))
