"""Latencies in buckets of equal relative width, as HdrHistogram keeps them: small, exact to 0.8 %, never sampled."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

_PRECISION_BITS: Final = 7
_HALF: Final = 1 << _PRECISION_BITS
PERCENTILES: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)


@dataclass
class Histogram:
    """Counts of durations in seconds, kept in whole microseconds."""

    counts: Counter[int] = field(default_factory=Counter)
    count: int = 0
    total: float = 0.0
    highest: float = 0.0

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Histogram":
        histogram = cls()
        for value in seconds:
            histogram.add(value)
        return histogram

    def add(self, seconds: float) -> None:
        """Count one. What is below zero by the difference of two clocks counts as zero."""
        seconds = max(0.0, seconds)
        self.counts[_bucket(round(seconds * 1_000_000))] += 1
        self.count += 1
        self.total += seconds
        self.highest = max(self.highest, seconds)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The duration that so many percent do not exceed, in seconds: the upper end of its bucket."""
        if not self.count:
            return 0.0
        wanted = max(1.0, self.count * percent / 100)
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted - 1e-9:
                return min(_upper_end(bucket) / 1_000_000, self.highest)
        return self.highest

    def table(self) -> dict[str, float]:
        """The usual percentiles in milliseconds."""
        return {f"p{percent:g}": round(self.percentile(percent) * 1000, 3) for percent in PERCENTILES}

    def curve(self) -> list[tuple[float, float]]:
        """Percent and milliseconds of every bucket that holds something, for the plot."""
        seen, points = 0, []
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            points.append((100 * seen / self.count, min(_upper_end(bucket) / 1000, self.highest * 1000)))
        return points


def _bucket(microseconds: int) -> int:
    """Values below 256 have a bucket each; above, 128 buckets for each doubling."""
    shift = max(0, microseconds.bit_length() - _PRECISION_BITS - 1)
    return shift * _HALF + (microseconds >> shift)


def _upper_end(bucket: int) -> int:
    shift = max(0, bucket // _HALF - 1)
    return ((bucket - shift * _HALF + 1) << shift) - 1
