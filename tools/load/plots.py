"""Line charts as SVG, without a library: enough for a report that one opens from a disk."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Final

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 860, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 190, 34, 40
_COLOURS: Final = (
    "#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#bf3989", "#0a7ea4", "#57606a", "#e16f24", "#2da44e",
)  # fmt: skip
_TICKS: Final = 5
_MOST_LINES: Final = 14


def chart(title: str, lines: Mapping[str, Points], *, x: str, y: str, log_y: bool = False) -> str:
    """A chart with a line for each name. Nothing is drawn where there are no points."""
    shown = dict(sorted(((name, points) for name, points in lines.items() if points), key=_highest)[:_MOST_LINES])
    if not shown:
        return ""
    plane = _Plane([point for points in shown.values() for point in points], log_y=log_y)
    parts = [f'<text x="{_LEFT}" y="18" class="title">{html.escape(title)}</text>', *plane.axes(x, y)]
    for number, (name, points) in enumerate(shown.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{plane.x(a):.1f},{plane.y(b):.1f}" for a, b in points)
        row = _TOP + 10 + number * 16
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>',
            f'<rect x="{_WIDTH - _RIGHT + 12}" y="{row - 8}" width="10" height="10" fill="{colour}"/>',
            f'<text x="{_WIDTH - _RIGHT + 27}" y="{row + 1}">{html.escape(name)}</text>',
        ]
    drawing = "\n".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">{drawing}</svg>'


class _Plane:
    """From values to places in the drawing."""

    def __init__(self, points: Points, *, log_y: bool) -> None:
        self._log = log_y
        self._x_low = min(point[0] for point in points)
        self._x_high = max(self._x_low + 1e-9, *(point[0] for point in points))
        top = max(point[1] for point in points)
        if log_y:
            lowest = min((point[1] for point in points if point[1] > 0), default=0.1)
            self._y_low = math.floor(math.log10(lowest))
            self._y_high = float(max(self._y_low + 1, math.ceil(math.log10(max(top, lowest)))))
        else:
            self._y_low, self._y_high = 0, _round_up(top)

    def x(self, value: float) -> float:
        share = (value - self._x_low) / (self._x_high - self._x_low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        if self._log:
            value = math.log10(value) if value > 0 else self._y_low
        share = (value - self._y_low) / (self._y_high - self._y_low)
        return _HEIGHT - _BOTTOM - min(1.0, max(0.0, share)) * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self, x: str, y: str) -> list[str]:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        drawn = []
        for value in self._y_ticks():
            at = self.y(value)
            drawn.append(f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" class="grid"/>')
            drawn.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
        for number in range(_TICKS + 1):
            value = self._x_low + (self._x_high - self._x_low) * number / _TICKS
            drawn.append(f'<text x="{self.x(value):.1f}" y="{bottom + 16}" text-anchor="middle">{value:.4g}</text>')
        drawn.append(f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{html.escape(x)}</text>')
        drawn.append(f'<text x="8" y="{_TOP - 4}">{html.escape(y)}</text>')
        return drawn

    def _y_ticks(self) -> list[float]:
        if self._log:
            return [10.0**power for power in range(int(self._y_low), int(self._y_high) + 1)]
        return [self._y_high * number / _TICKS for number in range(_TICKS + 1)]


def _highest(line: tuple[str, Points]) -> float:
    return -max(value for _, value in line[1])


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten, so that the ticks can be read."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 5, 10) if value <= power * step * (1 + 1e-9))
