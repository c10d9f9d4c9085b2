"""Time that messages took inside the services, from the histograms at `/metrics`: what came in during the run."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_NAME: Final = "message_duration_seconds"
_SECONDS: Final = 5


@dataclass
class Handled:
    """Counts of one handler: how many were done within each limit in seconds, all of them, and their sum."""

    within: dict[float, float] = field(default_factory=dict)
    count: float = 0
    total: float = 0

    def minus(self, before: "Handled") -> "Handled":
        return Handled(
            {limit: count - before.within.get(limit, 0) for limit, count in self.within.items()},
            self.count - before.count,
            self.total - before.total,
        )

    def percentile(self, percent: float) -> float:
        """Seconds; straight line within the bucket, as Prometheus counts it."""
        wanted, lower, seen = self.count * percent / 100, 0.0, 0.0
        for limit in sorted(self.within):
            here = self.within[limit]
            if here >= wanted:
                if limit == float("inf") or here == seen:
                    return lower
                return lower + (limit - lower) * (wanted - seen) / (here - seen)
            lower, seen = limit, here
        return lower


Reading = dict[str, Handled]


async def read(http_urls: Mapping[str, str]) -> Reading:
    """The histograms of every service that answers, under `service.handler`."""
    texts = await asyncio.gather(*(asyncio.to_thread(_text, url) for url in http_urls.values()))
    reading: Reading = {}
    for service, text in zip(http_urls, texts, strict=True):
        families = text_string_to_metric_families(text)
        for sample in (one for family in families if family.name == _NAME for one in family.samples):
            handled = reading.setdefault(f"{service}.{sample.labels['handler']}", Handled())
            match sample.name.removeprefix(f"{_NAME}_"):
                case "bucket":
                    handled.within[float(sample.labels["le"])] = sample.value
                case "sum":
                    handled.total = sample.value
                case "count":
                    handled.count = sample.value
    return reading


def between(before: Reading, after: Reading) -> dict[str, dict[str, float]]:
    """Count, mean and percentiles in milliseconds of what was handled between two readings."""
    found = {}
    for name, handled in sorted(after.items()):
        during = handled.minus(before.get(name, Handled()))
        if during.count > 0:
            found[name] = {
                "count": during.count,
                "mean": round(1000 * during.total / during.count, 2),
                "p50": round(1000 * during.percentile(50), 2),
                "p99": round(1000 * during.percentile(99), 2),
            }
    return found


def _text(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=_SECONDS) as answer:  # noqa: S310 - our own service
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return ""
