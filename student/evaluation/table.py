"""Teacher, start and student side by side: what the student keeps, and what it gained."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from student.evaluation.heldout import HeadAgreement


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
    """

    model: str
    tasks: Mapping[str, float] = field(default_factory=dict)
    dim: int | None = None
    parameters: int | None = None
    texts_per_s: float | None = None
    held_out: HeadAgreement | None = None

    @property
    def mean(self) -> float | None:
        """Mean over the evaluation sets; None without any."""
        return math.fsum(self.tasks.values()) / len(self.tasks) if self.tasks else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every model of an evaluation.

    Attributes:
        teachers: The teachers; the first is the one that retention is measured against.
        start: The model that the student started from.
        students: The student, once for each head that was measured; the default head first.
    """

    teachers: tuple[Scores, ...]
    start: Scores | None
    students: tuple[Scores, ...]

    @property
    def models(self) -> tuple[Scores, ...]:
        """Teachers, start, students: the rows of the table."""
        return (*self.teachers, *((self.start,) if self.start else ()), *self.students)


def retention(student: Scores, teacher: Scores) -> dict[str, float]:
    """The share of the teacher's score that the student keeps, in percent.

    Args:
        student: The student.
        teacher: The teacher.

    Returns:
        100 x student / teacher for every set that both have and on which the teacher scores above
        0; ``mean`` is the ratio of the two means over the sets that both have.
    """
    kept = {
        task: 100 * score / teacher.tasks[task]
        for task, score in student.tasks.items()
        if teacher.tasks.get(task, 0) > 0
    }
    ours, theirs = _common_means(student, teacher)
    return kept | ({"mean": 100 * ours / theirs} if theirs > 0 else {})


def gain(student: Scores, start: Scores) -> dict[str, float]:
    """Points that the student gained over the model it started from.

    Args:
        student: The student.
        start: Its start.

    Returns:
        student - start for every set that both have; ``mean`` over those sets.
    """
    common = {
        task: score - start.tasks[task]
        for task, score in student.tasks.items()
        if task in start.tasks
    }
    ours, theirs = _common_means(student, start)
    return common | ({"mean": ours - theirs} if common else {})


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Write a comparison as JSON-like data.

    Args:
        comparison: The models.

    Returns:
        ``teachers``, ``start`` and ``students``, each model with its fields and ``mean``; each
        student with ``retention`` (by teacher) and ``gain``.
    """
    return {
        "teachers": [_model_dict(teacher) for teacher in comparison.teachers],
        "start": _model_dict(comparison.start) if comparison.start else None,
        "students": [
            _model_dict(student)
            | {
                "retention": {
                    teacher.model: retention(student, teacher) for teacher in comparison.teachers
                },
                "gain": gain(student, comparison.start) if comparison.start else None,
            }
            for student in comparison.students
        ],
    }


def render(comparison: Comparison) -> str:
    """Write a comparison as a plain text table, models across and evaluation sets down.

    Args:
        comparison: The models.

    Returns:
        A line per set, so that any number of sets fits a terminal; the mean; for every model what
        it keeps of the first teacher and what it gained over the start; held-out agreement; speed
        and size. Two more columns give the first student's retention and gain line by line. Lines
        for which no model has a value are left out.
    """
    models = comparison.models
    student = comparison.students[0] if comparison.students else None
    teacher = comparison.teachers[0] if comparison.teachers else None
    kept = retention(student, teacher) if student and teacher else {}
    points = gain(student, comparison.start) if student and comparison.start else {}
    tasks = list(dict.fromkeys(task for model in models for task in model.tasks))
    scores = [
        [
            task,
            *(
                _number(model.tasks.get(task, model.mean if task == "mean" else None), ".2f")
                for model in models
            ),
            _number(kept.get(task), ".1f", "%"),
            _number(points.get(task), "+.2f"),
        ]
        for task in [*tasks, *(["mean"] if tasks else [])]
    ]
    agreement = [
        _agreement_row(label, models, student, teacher, comparison.start)
        for label in ("cosine", "spearman", "kendall")
    ]
    measures = [
        [label, *(cell(model) for model in models), "", ""]
        for label, cell in _measures(teacher, comparison.start).items()
    ]
    header = ["", *(model.model for model in models), "kept", "gained"]
    filled = [[row for row in block if any(row[1:])] for block in (scores, agreement, measures)]
    return _aligned(header, [block for block in filled if block])


def _agreement_row(
    measure: str,
    models: Sequence[Scores],
    student: Scores | None,
    teacher: Scores | None,
    start: Scores | None,
) -> list[str]:
    """A measure of held-out agreement: every model's, and the student's retention and gain."""

    def value(model: Scores | None) -> float | None:
        return getattr(model.held_out, measure) if model and model.held_out else None

    ours, theirs, origin = value(student), value(teacher), value(start)
    return [
        f"held-out {measure.capitalize() if measure != 'cosine' else measure}",
        *(_number(value(model), ".4f") for model in models),
        _number(100 * ours / theirs if ours is not None and theirs else None, ".1f", "%"),
        _number(ours - origin if ours is not None and origin is not None else None, "+.4f"),
    ]


def _measures(teacher: Scores | None, start: Scores | None) -> dict[str, Callable[[Scores], str]]:
    """Labels and cells of the lines that are not evaluation sets."""
    lines: dict[str, Callable[[Scores], str]] = {}
    if teacher:
        reference = teacher
        lines[f"kept of {teacher.model}"] = lambda model: _number(
            retention(model, reference).get("mean"), ".1f", "%"
        )
    if start:
        origin = start
        lines["gained over the start"] = lambda model: _number(
            None if model is origin else gain(model, origin).get("mean"), "+.2f"
        )
    return lines | {
        "texts/s": lambda model: _number(model.texts_per_s, ",.0f"),
        "parameters": lambda model: _number(model.parameters, ",d"),
        "dimensions": lambda model: _number(model.dim, "d"),
    }


def _common_means(student: Scores, other: Scores) -> tuple[float, float]:
    common = [task for task in student.tasks if task in other.tasks]
    if not common:
        return 0.0, 0.0
    return (
        math.fsum(student.tasks[task] for task in common) / len(common),
        math.fsum(other.tasks[task] for task in common) / len(common),
    )


def _model_dict(scores: Scores) -> dict[str, Any]:
    return asdict(scores) | {"mean": scores.mean}


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def _aligned(header: Sequence[str], blocks: Sequence[Sequence[Sequence[str]]]) -> str:
    table = [header, *(row for block in blocks for row in block)]
    # A column without a value, such as the gain where there is no start, is left out.
    used = [0, *(i for i in range(1, len(header)) if any(row[i] for row in table[1:]))]
    widths = {index: max(len(row[index]) for row in table) for index in used}
    rule = "  ".join("-" * widths[index] for index in used)
    lines = ["  ".join(_padded(header, widths)).rstrip()]
    for block in blocks:
        lines.append(rule)
        lines.extend("  ".join(_padded(row, widths)).rstrip() for row in block)
    return "\n".join(lines)


def _padded(row: Sequence[str], widths: Mapping[int, int]) -> list[str]:
    return [
        row[index].rjust(width) if index else row[index].ljust(width)
        for index, width in widths.items()
    ]
