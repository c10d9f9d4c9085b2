"""What a ratio must not fall below: four fifths of what was measured on a machine with nothing else to do.

Ratios hold on any machine, as both of their sides were taken in the same run. The figures behind them are in
docs/performance.md, "Bounds against regression".
"""

from collections.abc import Mapping
from typing import Final

BOUNDS: Final[Mapping[str, float]] = {
    "ours batched / floor with one transaction per message": 0.69,
    "ours batched / floor batched": 0.24,
    "gain of the shared transaction": 2.8,
    "dispatcher / bare aiosmtplib": 0.68,
}


def fallen(ratios: Mapping[str, float]) -> list[str]:
    """The ratios of a run that are below their bounds, in words."""
    return [
        f"{name} is {ratios[name]}, less than {bound}"
        for name, bound in BOUNDS.items()
        if name in ratios and ratios[name] < bound
    ]
