"""A panel of a chart: matplotlib, set up so that its SVG can stand in a page."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from pipelines.report_page.svg import GRID, INK, page_svg

WIDTH, HEIGHT = 3.8, 2.6
"""Inches; a page shows a panel 330 to 480 pixels wide."""

_DOTS_AN_INCH: Final = 72  # as SVG has: a dot is a point


def panel(height: float = HEIGHT) -> tuple[Canvas, Axes]:
    """Begin a panel.

    Args:
        height: In inches.
    """
    canvas = Canvas(figsize=(WIDTH, height), dpi=_DOTS_AN_INCH, layout="constrained")
    FigureCanvasSVG(canvas)
    return canvas, canvas.add_subplot()


@contextmanager
def style(key: str) -> Iterator[None]:
    """Draw in the page's style, whatever style the user has set up.

    Args:
        key: Decides the ids in the SVG.
    """
    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": key,
        "text.parse_math": False,
        "axes.formatter.use_mathtext": False,
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.labelsize": 9,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "hatch.color": GRID,
        "hatch.linewidth": 0.7,
        "path.simplify": False,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        # A name in a script that the library's font lacks: the page's font shows it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def as_svg(canvas: Canvas, key: str, alternative: str) -> str:
    """Write a panel down.

    Args:
        canvas: The panel.
        key: As for ``style``.
        alternative: What it says, for those who do not see it.

    Returns:
        An ``<svg>`` element.
    """
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return page_svg(buffer.getvalue(), key, alternative)
