"""An evaluation as it is kept, read without what made it: teachers, start and student."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipelines.report_page.svg import allowed
from student.evaluation.intervals import Estimate
from student.evaluation.lines import MEAN

AGREEMENTS: Final = {"cosine": "cosine", "spearman": "Spearman", "kendall": "Kendall"}
"""Measures of held-out agreement, and what people call them."""


class _Kept(BaseModel):
    """What this page does not show, or a later version adds, is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _whole(found: Estimate) -> Estimate:
    if (found.low is None) != (found.high is None):
        raise ValueError("an interval has two ends")
    return found


_Name = Annotated[str, AfterValidator(allowed)]
_Interval = Annotated[Estimate, AfterValidator(_whole)]


class Agreement(_Kept):
    """Agreement on held-out spans.

    Attributes:
        cosine: Mean cosine with the target; None in another space than the target's.
        spearman: Rank correlation of the pairs' similarities.
        kendall: Kendall's tau-b of the same.
        intervals: By measure, the same with intervals.
    """

    cosine: float | None = None
    spearman: float
    kendall: float
    intervals: dict[_Name, _Interval] = {}

    def measure(self, name: str) -> Estimate | None:
        """One measure, with its interval if it has one.

        Args:
            name: A key of ``AGREEMENTS``.
        """
        value = getattr(self, name)
        return self.intervals.get(name) or (None if value is None else Estimate(value=value))


class Model(_Kept):
    """A model, or one head of a student.

    Attributes:
        model: Its name.
        tasks: Score x 100 by evaluation set.
        lines: Score x 100 by line of the table: sets, types of sets, means.
        mean: Mean over the sets; None without any, and of a model that lacks one.
        dim: Numbers in a vector.
        parameters: Parameters that take part in one.
        texts_per_s: Texts encoded per second.
        held_out: Agreement on held-out spans.
    """

    model: _Name
    tasks: dict[_Name, float] = {}
    lines: dict[_Name, float] = {}
    mean: float | None = None
    dim: int | None = Field(default=None, ge=0, le=2**24)
    parameters: int | None = Field(default=None, ge=0, le=10**15)
    texts_per_s: float | None = None
    held_out: Agreement | None = None

    @property
    def scores(self) -> Mapping[str, float]:
        """Score x 100 by line of the table."""
        mean = {} if self.mean is None else {MEAN: self.mean}
        return self.lines or {**self.tasks, **mean}

    def agreement(self, measure: str) -> float | None:
        """One measure of held-out agreement.

        Args:
            measure: A key of ``AGREEMENTS``.
        """
        found = self.agreed(measure)
        return None if found is None else found.value

    def agreed(self, measure: str) -> Estimate | None:
        """The same with its interval, if it has one.

        Args:
            measure: A key of ``AGREEMENTS``.
        """
        return None if self.held_out is None else self.held_out.measure(measure)


class StudentModel(Model):
    """One head of a student.

    Attributes:
        retention: Percent of a teacher's score, by teacher and line.
        retention_intervals: The same with intervals.
        gain: Points over the start, by line.
        gain_intervals: The same with intervals.
        held_out_retention: Percent of a teacher's held-out agreement, by teacher and measure.
        held_out_gain: What it gained over the start's, by measure.
    """

    retention: dict[_Name, dict[_Name, float]] = {}
    retention_intervals: dict[_Name, dict[_Name, _Interval]] = {}
    gain: dict[_Name, float] | None = None
    gain_intervals: dict[_Name, _Interval] | None = None
    held_out_retention: dict[_Name, dict[_Name, _Interval]] = {}
    held_out_gain: dict[_Name, _Interval] = {}

    def kept(self, teacher: Model, measure: str) -> Estimate | None:
        """The share of a teacher's score that the student keeps, in percent.

        Args:
            teacher: The teacher.
            measure: A line of the table, or a key of ``AGREEMENTS``.

        Returns:
            None where one of them has no such score, or the teacher's is not above 0.
        """
        if measure in AGREEMENTS:
            known = self.held_out_retention.get(teacher.model, {}).get(measure)
            if known is not None:
                return known
            ours, theirs = self.agreement(measure), teacher.agreement(measure)
            if ours is None or theirs is None or theirs <= 0:
                return None
            return Estimate(value=100 * ours / theirs)
        found = self.retention_intervals.get(teacher.model, {}).get(measure)
        value = self.retention.get(teacher.model, {}).get(measure)
        return found or (None if value is None else Estimate(value=value))

    def gained(self, measure: str) -> Estimate | None:
        """Points over the start.

        Args:
            measure: A line of the table.
        """
        found = (self.gain_intervals or {}).get(measure)
        value = (self.gain or {}).get(measure)
        return found or (None if value is None else Estimate(value=value))


class Measured(_Kept):
    """Every model of an evaluation.

    Attributes:
        teachers: The teachers; the first is the one that retention is told of first.
        start: What the student started from.
        students: The student's heads, the default first.
        references: Models that others measured.
    """

    teachers: tuple[Model, ...] = ()
    start: Model | None = None
    students: tuple[StudentModel, ...] = ()
    references: tuple[Model, ...] = ()

    @property
    def models(self) -> tuple[Model, ...]:
        """Teachers, start, students, references."""
        start = () if self.start is None else (self.start,)
        return (*self.teachers, *start, *self.students, *self.references)

    @property
    def has_scores(self) -> bool:
        """Whether there are evaluation sets, beside held-out spans."""
        return any(model.tasks for model in self.models)

    @property
    def quality(self) -> str:
        """What quality is told by: ``MEAN``, or held-out ``spearman`` without evaluation sets."""
        return MEAN if self.has_scores else "spearman"

    def score(self, model: Model) -> float | None:
        """A model's quality.

        Args:
            model: One of ``models``.

        Returns:
            None where it is not known, or is a mean over fewer sets than others are measured on.
        """
        if not self.has_scores:
            return model.agreement("spearman")
        own = (*self.teachers, *((self.start,) if self.start else ()), *self.students)
        return model.mean if all(one.tasks.keys() <= model.tasks.keys() for one in own) else None
