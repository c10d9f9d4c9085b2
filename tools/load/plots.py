"""Line charts as SVG for a page that follows the reader's light or dark colours."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator

Points = Sequence[tuple[float, float]]
_INCHES: Final = (9.6, 3.6)
_MOST_LINES: Final = 14
_INK, _GRID = "#1f2328", "#d0d7de"
_FROM_THE_PAGE: Final = {_INK: "var(--ink)", _GRID: "var(--line)"}
"""The page's own colours, which are others in the dark."""
_LOOK: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # and a dollar a dollar
    "svg.hashsalt": "aftersale",
    "font.size": 9,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": _GRID,
    "xtick.labelcolor": _INK,
    "ytick.color": _GRID,
    "ytick.labelcolor": _INK,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
}
_COLOURS: Final = ("#1f77d0", "#e5534b", "#2da44e", "#c69026", "#986ee2", "#d7629f", "#17a2b8")
_DASHES: Final = ("solid", "dashed")
_SHARES: Final = (0, 50, 90, 99, 99.9, 99.99, 99.999)


def chart(
    title: str, lines: Mapping[str, Points], *, x: str, y: str, log_y: bool = False, percent_x: bool = False
) -> str:
    """A chart with a line for each name, the highest first. Nothing is drawn where there are no points.

    `percent_x` spreads percentiles as HdrHistogram does, each further nine as wide as the one before.
    """
    shown = sorted(((name, points) for name, points in lines.items() if points), key=_highest)[:_MOST_LINES]
    if not shown:
        return ""
    with mpl.rc_context(_LOOK):
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.subplots()
        for number, (name, points) in enumerate(shown):
            axes.plot(
                [_nines(a) if percent_x else a for a, _ in points],
                [b for _, b in points],
                label=name,
                color=_COLOURS[number % len(_COLOURS)],
                linestyle=_DASHES[number // len(_COLOURS) % len(_DASHES)],
            )
        axes.set(title=title, xlabel=x, ylabel=y)
        axes.margins(x=0.01)
        _scale_values(axes, log=log_y and any(b > 0 for _, points in shown for _, b in points))
        if percent_x:
            _scale_percent(axes)
        else:
            axes.set_xlim(left=0)
        figure.legend(loc="outside right upper", frameon=False)
        return _drawn(figure, title)


def _scale_values(axes: Axes, *, log: bool) -> None:
    if log:
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _scale_percent(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([_nines(share) for share in _SHARES]))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{share:g} %" for share in _SHARES]))
    axes.xaxis.set_minor_locator(NullLocator())


def _nines(percent: float) -> float:
    """One in how many is slower. Nobody is slower than the slowest, which stands at the edge."""
    return 100 / max(1e-3, 100 - percent)


def _drawn(figure: Figure, title: str) -> str:
    drawing = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(drawing, format="svg", transparent=True, metadata=nothing)
    svg = drawing.getvalue().partition("<svg ")[2]
    for colour, variable in _FROM_THE_PAGE.items():
        svg = svg.replace(colour, variable)
    return Markup('<svg role="img" aria-label="{}" ').format(title) + Markup(svg)  # noqa: S704 - escaped by matplotlib


def _highest(line: tuple[str, Points]) -> float:
    return -max(value for _, value in line[1])
