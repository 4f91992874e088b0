"""The lines of a table of scores: a task, the mean of a type of task, the means of all.

A line is a weight for every task that counts in it, so that scores and resampled scores of a line
are the same sum.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

MEAN = "mean"
"""Mean over all tasks."""

MEAN_BY_TYPE = "mean by type"
"""Mean over the types' means, as MTEB's leaderboard has it beside the other."""

MEANS = (MEAN, MEAN_BY_TYPE)

Line = Mapping[str, float]
"""The weight of each task; they add up to 1."""


def table_lines(tasks: Sequence[str], kinds: Mapping[str, str]) -> dict[str, Line]:
    """Say which lines a table of some tasks has.

    Args:
        tasks: The tasks, in the table's order.
        kinds: The type of each, as MTEB names it; a task may lack one.

    Returns:
        A line for each task and ``mean``. If there are several types, and any has several tasks:
        a line for each type, called ``TYPE (number of tasks)``, and, if every task has a type,
        ``mean by type``.

    >>> list(table_lines(["a", "b", "c"], {"a": "STS", "b": "STS", "c": "Retrieval"}))
    ['a', 'b', 'c', 'STS (2)', 'Retrieval (1)', 'mean', 'mean by type']
    """
    lines: dict[str, Line] = {task: {task: 1.0} for task in tasks}
    by_kind = tasks_by_kind(tasks, kinds)
    several = len(by_kind) > 1 and any(len(members) > 1 for members in by_kind.values())
    if several:
        for kind, members in by_kind.items():
            lines[f"{kind} ({len(members)})"] = dict.fromkeys(members, 1 / len(members))
    if tasks:
        lines[MEAN] = dict.fromkeys(tasks, 1 / len(tasks))
    if several and all(task in kinds for task in tasks):
        lines[MEAN_BY_TYPE] = {
            task: 1 / len(by_kind) / len(members)
            for members in by_kind.values()
            for task in members
        }
    return lines


def tasks_by_kind(tasks: Sequence[str], kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """Group tasks by type, in the order in which the types come first.

    Args:
        tasks: The tasks.
        kinds: The type of each; tasks without one are left out.
    """
    found: dict[str, list[str]] = {}
    for task in tasks:
        if task in kinds:
            found.setdefault(kinds[task], []).append(task)
    return found


def on_line(line: Line, scores: Mapping[str, float]) -> float | None:
    """A line's score.

    Args:
        line: The weights.
        scores: By task.

    Returns:
        The weighted sum; None if a task has no score.
    """
    if not all(task in scores for task in line):
        return None
    return float(sum(weight * scores[task] for task, weight in line.items()))


def resampled_tasks(
    line: Line, scores: Mapping[str, float], resamples: int
) -> npt.NDArray[np.float64]:
    """A line's score when its tasks are drawn anew, with replacement.

    The draws depend on the names alone, so that the scores of two models are paired.

    Args:
        line: The weights of its tasks, all of which have a score.
        scores: By task.
        resamples: R.

    Returns:
        scores_R.
    """
    names = sorted(line)
    drawn = np.random.default_rng(0).integers(len(names), size=(resamples, len(names)))
    weights = np.array([line[name] for name in names])[drawn]
    values = np.array([scores[name] for name in names])[drawn]
    found: npt.NDArray[np.float64] = (weights * values).sum(axis=1) / weights.sum(axis=1)
    return found
