"""Retention and gain with their intervals, so that nobody reads noise."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy import stats

from student.evaluation.items import RESAMPLES, ROUNDED
from student.evaluation.lines import Line, on_line, resampled_tasks, table_lines

CONFIDENCE = 95
"""Of an interval, in percent."""

LEAST_TASKS = 8
"""Fewer tasks are no sample that could be drawn from."""

_POINTS_ROUNDED = 100 * ROUNDED
"""By how much a score x 100 may differ from that of its items."""

Over = Literal["items", "tasks", "spans"]

_Floats = npt.NDArray[np.float64]


class Scored(Protocol):
    """What intervals need to know of a model."""

    @property
    def tasks(self) -> Mapping[str, float]:
        """Score x 100 by task."""

    @property
    def resampled(self) -> Mapping[str, _Floats]:
        """Scores x 100 of resampled items, (R,), of the tasks whose items are known."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: The figure.
        low: Lower end of the interval; None where there is none.
        high: Upper end.
        over: Of what a sample was drawn: ``items`` of the tasks, ``tasks``, or held-out ``spans``.
    """

    value: float
    low: float | None = None
    high: float | None = None
    over: Over | None = None

    def text(self, form: str, unit: str = "") -> str:
        """Write it for people, such as ``50.0% [40.0, 60.0]``.

        Args:
            form: Format of each number.
            unit: Behind the figure.
        """
        within = "" if self.low is None else f" [{self.low:{form}}, {self.high:{form}}]"
        return f"{self.value:{form}}{unit}{within}"

    def as_dict(self) -> dict[str, Any]:
        """The fields, as JSON-like data."""
        return asdict(self)


def retention(student: Scored, other: Scored, kinds: Mapping[str, str]) -> dict[str, Estimate]:
    """The share of another model's score that the student keeps, in percent.

    Args:
        student: The student.
        other: A teacher.
        kinds: The type of each task.

    Returns:
        100 x student / other on every line of the tasks that both have and on which the other
        scores above 0 (``student.evaluation.lines.table_lines``).
    """
    return {
        name: estimate(
            percent(ours, theirs),
            _resampled_ratio(line, student, other),
            _POINTS_ROUNDED * (1 + ours / theirs) * 100 / theirs,
        )
        for name, line, ours, theirs in _common(student, other, kinds)
        if theirs > 0
    }


def gain(student: Scored, start: Scored, kinds: Mapping[str, str]) -> dict[str, Estimate]:
    """Points that the student gained over the model it started from.

    Args:
        student: The student.
        start: Its start.
        kinds: The type of each task.

    Returns:
        student - start on every line of the tasks that both have.
    """
    return {
        name: estimate(ours - theirs, _resampled_gain(line, student, start), 2 * _POINTS_ROUNDED)
        for name, line, ours, theirs in _common(student, start, kinds)
    }


_Resampled = tuple[_Floats, Over] | None


def _common(
    one: Scored, other: Scored, kinds: Mapping[str, str]
) -> list[tuple[str, Line, float, float]]:
    tasks = [task for task in one.tasks if task in other.tasks]
    found = []
    for name, line in table_lines(tasks, kinds).items():
        ours, theirs = on_line(line, one.tasks), on_line(line, other.tasks)
        if ours is not None and theirs is not None:
            found.append((name, line, ours, theirs))
    return found


def _both(line: Line, one: Scored, other: Scored) -> tuple[_Floats, _Floats, Over] | None:
    """Paired resampled scores of both models: of items where all are known, else of tasks."""
    if all(task in one.resampled and task in other.resampled for task in line):
        ours, theirs = (
            np.sum([weight * model.resampled[task] for task, weight in line.items()], axis=0)
            for model in (one, other)
        )
        return ours, theirs, "items"
    if len(line) < LEAST_TASKS:
        return None
    ours, theirs = (resampled_tasks(line, model.tasks, RESAMPLES) for model in (one, other))
    return ours, theirs, "tasks"


def _resampled_ratio(line: Line, student: Scored, other: Scored) -> _Resampled:
    both = _both(line, student, other)
    if both is None or not np.all(both[1] > 0):
        return None
    return 100 * (both[0] / both[1]), both[2]


def _resampled_gain(line: Line, student: Scored, start: Scored) -> _Resampled:
    both = _both(line, student, start)
    return None if both is None else (both[0] - both[1], both[2])


def percent(ours: float, theirs: float) -> float:
    """What share of theirs ours is; exactly 100 of the same."""
    return 100 * (ours / theirs)


def by_error(value: float, error: float | None, spans: int, limit: float = math.inf) -> Estimate:
    """Give a figure of held-out spans an interval by its standard error and Student's t.

    Args:
        value: The figure.
        error: Its standard error; None where it is not known.
        spans: Spans that it was measured on.
        limit: What no such figure can be above, nor its negative below.
    """
    if error is None or not math.isfinite(value) or not math.isfinite(error):
        return Estimate(value)
    reach = error * float(stats.t.ppf((1 + CONFIDENCE / 100) / 2, spans - 1))
    low, high = max(value - reach, -limit), min(value + reach, limit)
    return Estimate(value, min(low, value), max(high, value), "spans")


def estimate(value: float, resampled: _Resampled, rounding: float) -> Estimate:
    """Give a figure its bootstrap interval, left out where it does not hold the figure.

    Args:
        value: The figure.
        resampled: The figure of each resample, (R,), and what was resampled; None where nothing
            can be.
        rounding: By how much the figure may differ from that of what is resampled.
    """
    if resampled is None or not np.all(np.isfinite(resampled[0])):
        return Estimate(value)
    low, high = _percentiles(resampled[0])
    if not low - rounding <= value <= high + rounding:
        return Estimate(value)
    return Estimate(value, min(low, value), max(high, value), resampled[1])


def _percentiles(resampled_R: _Floats) -> tuple[float, float]:
    outside = (100 - CONFIDENCE) / 2
    low, high = np.percentile(resampled_R, [outside, 100 - outside])
    return float(low), float(high)
