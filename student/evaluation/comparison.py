"""What was measured of teacher, start and student, and which of it compares."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from student.evaluation.heldout import HeadAgreement
from student.evaluation.lines import MEAN, MEANS, Line, on_line, table_lines


@dataclass(frozen=True, slots=True)
class Scores:
    """What was measured of one model, or of one head of it.

    Attributes:
        model: What the table calls it.
        tasks: Score x 100 by evaluation set, in the order of the columns.
        dim: Numbers in a vector.
        parameters: Parameters, if the model counts them.
        texts_per_s: Texts encoded per second on the machine of the evaluation.
        held_out: Agreement with the target on held-out spans.
        resampled: Scores x 100 of resampled items, (R,), of the tasks whose items are known.
        published: Scores x 100 by line of the table, of a model that others measured.
    """

    model: str
    tasks: Mapping[str, float] = field(default_factory=dict)
    dim: int | None = None
    parameters: int | None = None
    texts_per_s: float | None = None
    held_out: HeadAgreement | None = None
    resampled: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every model of an evaluation.

    Attributes:
        teachers: The teachers; the first is the one that retention is measured against.
        start: The model that the student started from.
        students: The student, once for each head that was measured; the default head first.
        kinds: The type of each task, as MTEB names it.
        references: Models that others measured.
    """

    teachers: tuple[Scores, ...]
    start: Scores | None
    students: tuple[Scores, ...]
    kinds: Mapping[str, str] = field(default_factory=dict)
    references: tuple[Scores, ...] = ()

    @property
    def measured(self) -> tuple[Scores, ...]:
        """Teachers, start, students."""
        return (*self.teachers, *((self.start,) if self.start else ()), *self.students)

    @property
    def models(self) -> tuple[Scores, ...]:
        """The columns of the table: what was measured, then the references."""
        return (*self.measured, *self.references)

    @property
    def tasks(self) -> list[str]:
        """What the means are over: every task that was measured, or else that a reference has."""
        found = dict.fromkeys(task for model in self.measured for task in model.tasks)
        others = (task for model in self.references for task in model.tasks)
        return list(found or dict.fromkeys(others))

    def lines(self, model: Scores) -> dict[str, float]:
        """The score of every line that a model has all of, so that a line compares like with like.

        Args:
            model: One of ``models``.

        Returns:
            Its tasks, the types and means over ``tasks`` of which it lacks none, and what was
            published of it; published means over more tasks are called ``mean (number)``.
        """
        own = {name: on_line(line, model.tasks) for name, line in self._lines.items()}
        whole = len(self.tasks) == len(self.kinds)
        published = {
            name if whole or name not in MEANS else f"{name} ({len(self.kinds)})": score
            for name, score in model.published.items()
        }
        known = {name: score for name, score in own.items() if score is not None}
        return {**model.tasks, **known, **published}

    def mean(self, model: Scores) -> float | None:
        """The mean over ``tasks``; None for a model that lacks any.

        Args:
            model: One of ``models``.
        """
        line = self._lines.get(MEAN)
        return on_line(line, model.tasks) if line else None

    @property
    def _lines(self) -> dict[str, Line]:
        return table_lines(self.tasks, self.kinds)
