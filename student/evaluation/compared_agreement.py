"""What a student keeps of a teacher's held-out agreement, and what it gained over its start."""

from collections.abc import Iterator
from typing import NamedTuple

from student.evaluation.heldout import MEASURES, HeadAgreement
from student.evaluation.intervals import Estimate, by_error, percent
from student.evaluation.span_error import Influence


def kept_agreement(
    student: HeadAgreement | None, teacher: HeadAgreement | None
) -> dict[str, Estimate]:
    """The share of a teacher's agreement that the student keeps, in percent.

    Args:
        student: The student's.
        teacher: The teacher's.

    Returns:
        100 x student / teacher by measure, where both have it and the teacher's is above 0. The
        intervals are paired, for both are measured on the same spans. There is none where the
        teacher's own holds 0.
    """
    found = {}
    for name, ours, theirs in _both(student, teacher):
        if theirs.value <= 0:
            continue
        error = None
        if ours.influence and theirs.influence:
            own = by_error(theirs.value, theirs.influence.error(), theirs.spans)
            if own.low is not None and own.low > 0:
                moved = ours.influence.less(theirs.influence, times=ours.value / theirs.value)
                error = percent(moved.error(), theirs.value)
        found[name] = by_error(percent(ours.value, theirs.value), error, ours.spans)
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
    for name, ours, theirs in _both(student, start):
        error = None
        if ours.influence and theirs.influence:
            error = ours.influence.less(theirs.influence).error()
        found[name] = by_error(ours.value - theirs.value, error, ours.spans)
    return found


class _Figure(NamedTuple):
    value: float
    influence: Influence | None

    @property
    def spans(self) -> int:
        return self.influence.spans if self.influence else 0


def _both(
    one: HeadAgreement | None, other: HeadAgreement | None
) -> Iterator[tuple[str, _Figure, _Figure]]:
    """The measures that both have."""
    if one is None or other is None:
        return
    for name in MEASURES:
        ours, theirs = (_Figure(getattr(of, name), of.influences.get(name)) for of in (one, other))
        if ours.value is not None and theirs.value is not None:
            yield name, ours, theirs
