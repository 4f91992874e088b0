"""Charts as SVG that takes its colours from the page: one panel each, legible at 330 pixels.

Whoever reads them may see no colours, or print without: lines differ by dashes and markers too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pipelines.report_page.canvas import as_svg, panel, style
from pipelines.report_page.svg import GRID, INK, SERIES

_DASHES: Final = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (9, 3), (3, 1, 1, 1, 1, 1))
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
_MOST_MARKERS: Final = 8
_LINE_HEIGHT: Final = 11
_LOG_SPAN: Final = 20
"""Values that span more than this are shown on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a series is drawn, without and with colour.

    Attributes:
        color: Place in ``svg.SERIES``.
        dashes: Lengths of strokes and gaps; empty for a solid line.
        marker: matplotlib's name of a marker; ``bar`` for a part of bars.
        joined: Whether points are joined by a line.
    """

    color: int
    dashes: tuple[float, ...]
    marker: str
    joined: bool = True

    @classmethod
    def of(cls, place: int, *, joined: bool = True) -> "Look":
        """The look of a series, other than that of any of the 35 before it.

        Args:
            place: Its place among the series of a chart.
            joined: Whether its points are joined by a line.
        """
        turn, color = divmod(place, len(SERIES))
        dashes = _DASHES[(color + turn) % len(_DASHES)]
        return cls(color, dashes, _MARKERS[(color + turn) % len(_MARKERS)], joined)


@dataclass(frozen=True, slots=True)
class Line:
    """A series of points.

    Attributes:
        label: Its name.
        x: Ascending.
        y: As many.
        look: How it is drawn.
        shown: A word at each point; empty for none.
        spans: Lower and upper end of each point's interval; empty for none.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    look: Look
    shown: tuple[str, ...] = ()
    spans: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """A panel of lines or points.

    Attributes:
        key: Names it among the charts of a page.
        title: What it shows.
        x_label: What the x axis measures.
        y_label: What the y axis measures.
        lines: The series.
        log_x: Whether the x axis is logarithmic.
        x_ticks: Where the x axis has ticks; empty leaves that to the library.
        level: A level to compare with, drawn across.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    log_x: bool = False
    x_ticks: tuple[float, ...] = ()
    level: float | None = None


@dataclass(frozen=True, slots=True)
class Bars:
    """A panel of horizontal bars, each of parts laid end to end.

    Attributes:
        key: Names it among the charts of a page.
        title: What it shows.
        x_label: What the x axis measures.
        rows: Name and parts of each bar.
        parts: What the parts are called.
    """

    key: str
    title: str
    x_label: str
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    parts: tuple[str, ...] = ()


def line_svg(chart: Chart, alternative: str) -> str:
    """Draw a panel of lines or points.

    Args:
        chart: What to draw.
        alternative: What it says, for those who do not see it.

    Returns:
        An ``<svg>`` element.
    """
    with style(chart.key):
        canvas, axes = panel()
        for line in chart.lines:
            _draw(axes, line)
        if chart.level is not None:
            axes.axhline(chart.level, color=INK, linewidth=0.8, dashes=(2, 2), zorder=1)
        if chart.log_x:
            axes.set_xscale("log")
        values = [value for line in chart.lines for value in line.y]
        if not any(line.shown for line in chart.lines) and _spans_decades(values):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=8))
            axes.yaxis.set_minor_formatter(NullFormatter())
        _ticks(axes, chart)
        axes.set_xlabel(chart.x_label)
        axes.set_ylabel(chart.y_label)
        if any(line.shown for line in chart.lines):
            axes.margins(x=0.12, y=0.12)
            _name_points(canvas, axes, chart.lines)
        return as_svg(canvas, chart.key, alternative)


def bar_svg(chart: Bars, alternative: str) -> str:
    """Draw a panel of bars.

    Args:
        chart: What to draw.
        alternative: As for ``line_svg``.

    Returns:
        An ``<svg>`` element.
    """
    with style(chart.key):
        canvas, axes = panel(0.75 + 0.3 * len(chart.rows))
        for place, (_, parts) in enumerate(chart.rows):
            left = 0.0
            for number, part in enumerate(parts):
                axes.barh(
                    place, part, left=left, height=0.66, color=SERIES[number % len(SERIES)],
                    edgecolor=GRID, linewidth=0.5, hatch=_HATCHES[number % len(_HATCHES)],
                )  # fmt: skip
                left += part
        axes.set_yticks(range(len(chart.rows)), [_short(name) for name, _ in chart.rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(chart.x_label)
        return as_svg(canvas, chart.key, alternative)


_HATCHES: Final = ("", "//", "..", "\\\\", "xx", "--")


def _draw(axes: Axes, line: Line) -> None:
    look = line.look
    color = SERIES[look.color]
    axes.plot(
        line.x,
        line.y,
        color=color,
        linewidth=1.6 if look.joined else 0,
        dashes=look.dashes or (1, 0),
        marker=look.marker,
        markersize=4.5 if look.joined else 7,
        markevery=max(1, -(-len(line.x) // _MOST_MARKERS)),
        zorder=3,
    )
    for x, (low, high) in zip(line.x, line.spans, strict=False):
        axes.plot([x, x], [low, high], color=color, linewidth=1, marker="_", zorder=2)


def _name_points(canvas: Canvas, axes: Axes, lines: Sequence[Line]) -> None:
    """Write a word beside each point; words that would lie upon each other are moved apart."""
    canvas.draw_without_rendering()  # decides where the axes lie
    box = axes.get_window_extent()
    named = []
    for line in lines:
        for x, y, word in zip(line.x, line.y, line.shown, strict=False):
            at_x, at_y = axes.transData.transform((x, y))
            named.append((bool(at_x > (box.x0 + box.x1) / 2), float(at_y), x, y, word))
    for to_the_left in (False, True):
        side = sorted(point for point in named if point[0] == to_the_left)
        heights = spread([point[1] for point in side], _LINE_HEIGHT)
        for (_, at_y, x, y, word), height in zip(side, heights, strict=True):
            axes.annotate(
                _short(word), (x, y), xytext=(-7 if to_the_left else 7, height - at_y),
                textcoords="offset points", ha="right" if to_the_left else "left", va="center",
                fontsize=8, color=INK, zorder=4,
            )  # fmt: skip


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move places apart until neighbours keep a distance, each as little as may be.

    Args:
        places: Ascending.
        gap: The least distance.

    Returns:
        As many, ascending.

    >>> spread([0.0, 1.0, 10.0], 3.0)
    [-1.0, 2.0, 10.0]
    """
    groups: list[tuple[float, int]] = []  # middle and number of places that stand side by side
    for place in places:
        middle, count = place, 1
        while groups and middle - groups[-1][0] < gap * (count + groups[-1][1]) / 2:
            before, others = groups.pop()
            middle = (middle * count + before * others) / (count + others)
            count += others
        groups.append((middle, count))
    return [
        middle + gap * (place - (count - 1) / 2)
        for middle, count in groups
        for place in range(count)
    ]


def _ticks(axes: Axes, chart: Chart) -> None:
    plain = FuncFormatter(lambda value, _: _number(value))
    axes.yaxis.set_major_formatter(plain)
    if chart.x_ticks:
        axes.set_xticks(chart.x_ticks)
        axes.minorticks_off()
    elif chart.log_x:
        axes.xaxis.set_major_locator(LogLocator(subs=_log_ticks(chart), numticks=6))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(plain)


def _log_ticks(chart: Chart) -> tuple[float, ...]:
    """Where in a decade a logarithmic axis has ticks: more of them where it spans but one."""
    values = [value for line in chart.lines for value in line.x]
    return (1.0, 3.0) if max(values) / min(values) > 10 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


def _spans_decades(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) / min(values) > _LOG_SPAN


def _number(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):g}{unit}"
    return f"{value:.4g}"


def _short(word: str, most: int = 22) -> str:
    return word if len(word) <= most else f"{word[: most - 1]}…"
