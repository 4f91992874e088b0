"""What a student keeps of a teacher's held-out agreement, and what it gained over its start.

Shapes: R resamples.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from student.evaluation.heldout import MEASURES, ROUNDED, HeadAgreement
from student.evaluation.intervals import Estimate, Over, estimate

_Floats = npt.NDArray[np.float64]
_Drawn = tuple[_Floats, _Floats]


def kept_agreement(
    student: HeadAgreement | None, teacher: HeadAgreement | None
) -> dict[str, Estimate]:
    """The share of a teacher's agreement that the student keeps, in percent.

    Args:
        student: The student's.
        teacher: The teacher's.

    Returns:
        100 x student / teacher by measure, where both have it and the teacher's is above 0. The
        intervals are paired: the same spans are drawn for both.
    """
    found = {}
    for name, ours, theirs, drawn in _both(student, teacher):
        if theirs <= 0:
            continue
        share_R = None
        if drawn is not None and np.all(drawn[1] > 0):
            share_R = 100 * (drawn[0] / drawn[1])
        rounding = 100 * ROUNDED * (1 + abs(ours / theirs)) / theirs
        found[name] = estimate(100 * (ours / theirs), _of_spans(share_R), rounding)
    return found


def gained_agreement(
    student: HeadAgreement | None, start: HeadAgreement | None
) -> dict[str, Estimate]:
    """What the student's agreement gained over that of its start.

    Args:
        student: The student's.
        start: The start's.

    Returns:
        student - start by measure, where both have it, with paired intervals.
    """
    found = {}
    for name, ours, theirs, drawn in _both(student, start):
        more_R = None if drawn is None else drawn[0] - drawn[1]
        found[name] = estimate(ours - theirs, _of_spans(more_R), 2 * ROUNDED)
    return found


def _of_spans(resampled_R: _Floats | None) -> tuple[_Floats, Over] | None:
    return None if resampled_R is None else (resampled_R, "spans")


def _both(
    one: HeadAgreement | None, other: HeadAgreement | None
) -> Iterator[tuple[str, float, float, _Drawn | None]]:
    """The measures that both have, with their paired resamples where both were resampled."""
    if one is None or other is None:
        return
    for name in MEASURES:
        ours, theirs = getattr(one, name), getattr(other, name)
        if ours is None or theirs is None:
            continue
        known = name in one.resampled and name in other.resampled
        yield name, ours, theirs, (one.resampled[name], other.resampled[name]) if known else None
