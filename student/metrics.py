"""Reading a stage's metrics without training, as `pipe status` does."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_LAST_BYTES: Final = 65_536
"""Read from the end of the file: many lines of any recipe."""


def last_metrics(path: Path) -> dict[str, Any] | None:
    """The last line of metrics of a training step.

    Args:
        path: A stage's ``metrics.jsonl``, which need not exist.

    Returns:
        Step, loss and whatever else was logged with them; None if there is no whole line.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - _LAST_BYTES, 0))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            metrics = json.loads(line)
        except ValueError:  # half a line, as a kill or the window's edge can leave one
            continue
        if isinstance(metrics, dict) and "loss" in metrics:
            return metrics
    return None


@dataclass(frozen=True, slots=True)
class MetricLines:
    """A stage's metrics.

    Attributes:
        lines: The numbers of every whole line, by name; ``step`` is always among them.
        damaged: How many lines are no metrics.
    """

    lines: tuple[Mapping[str, float], ...] = ()
    damaged: int = 0


def read_metrics(path: Path) -> MetricLines:
    """Read a stage's metrics.

    Args:
        path: Its ``metrics.jsonl``, which need not exist.

    Returns:
        What is whole of it; what is no finite number is left out.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return MetricLines()
    parsed = [_numbers(line) for line in text.splitlines() if line.strip()]
    lines = tuple(line for line in parsed if line is not None)
    return MetricLines(lines, len(parsed) - len(lines))


def steps_per_second(metrics: Mapping[str, float], batch_size: int) -> float | None:
    """The pace of training since the line of metrics before.

    Args:
        metrics: A line of metrics of a training step.
        batch_size: Texts in a step, for lines of older versions, which were of one process.

    Returns:
        None if the line does not tell.
    """
    pace = metrics.get("steps_per_second", metrics.get("texts_per_second", 0.0) / batch_size)
    return pace if isinstance(pace, int | float) and pace > 0 else None


def _numbers(line: str) -> Mapping[str, float] | None:
    try:
        metrics = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(metrics, dict):
        return None
    found = {name: value for name, value in metrics.items() if _is_number(value)}
    return found if isinstance(found.get("step"), int) else None


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no integer beyond those."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
