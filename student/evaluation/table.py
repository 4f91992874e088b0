"""Teacher, start and student side by side: what the student keeps, and what it gained."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from student.evaluation.compared_agreement import gained_agreement, kept_agreement
from student.evaluation.comparison import Comparison, Scores
from student.evaluation.heldout import MEASURES
from student.evaluation.intervals import Estimate, gain, retention
from student.evaluation.lines import MEAN, MEANS, table_lines
from student.evaluation.plain_table import aligned


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Write a comparison as JSON-like data.

    Args:
        comparison: The models.

    Returns:
        ``teachers``, ``start``, ``students`` and ``references``: each model with its fields,
        ``tasks`` (score x 100 by task), ``mean`` (null for a model that lacks a task), and
        ``lines`` (score x 100 by line of the table: the tasks, ``TYPE (number)``, ``mean``,
        ``mean by type``; those that it has all tasks of). Each student also has
        ``retention`` (by teacher, by line, in percent) and ``gain`` (by line, in points), and, with
        the same keys, ``retention_intervals`` and ``gain_intervals``, whose values are objects of
        ``value``, ``low``, ``high`` and ``over`` (``items`` or ``tasks``); ``held_out_retention``
        (by teacher, by measure) and ``held_out_gain`` (by measure) have such objects for
        ``cosine``, ``spearman`` and ``kendall``, over ``spans``. ``low``, ``high`` and ``over`` are
        null where a figure has no interval. ``held_out`` of a model has ``intervals``, by measure,
        of those that have one. ``kinds`` gives the type of each task.
    """
    kinds = comparison.kinds
    students = []
    for student in comparison.students:
        kept = {
            teacher.model: retention(student, teacher, kinds) for teacher in comparison.teachers
        }
        points = gain(student, comparison.start, kinds) if comparison.start else None
        students.append(
            _model_dict(student, comparison)
            | {
                "retention": {teacher: _values(lines) for teacher, lines in kept.items()},
                "retention_intervals": {
                    teacher: _intervals(lines) for teacher, lines in kept.items()
                },
                "gain": _values(points) if points is not None else None,
                "gain_intervals": _intervals(points) if points is not None else None,
                "held_out_retention": {
                    teacher.model: _intervals(kept_agreement(student.held_out, teacher.held_out))
                    for teacher in comparison.teachers
                },
                "held_out_gain": _intervals(
                    gained_agreement(
                        student.held_out, comparison.start.held_out if comparison.start else None
                    )
                ),
            }
        )
    return {
        "teachers": [_model_dict(teacher, comparison) for teacher in comparison.teachers],
        "start": _model_dict(comparison.start, comparison) if comparison.start else None,
        "students": students,
        "references": [_model_dict(model, comparison) for model in comparison.references],
        "kinds": dict(kinds),
    }


def _values(lines: Mapping[str, Estimate]) -> dict[str, float]:
    return {line: estimate.value for line, estimate in lines.items()}


def _intervals(lines: Mapping[str, Estimate]) -> dict[str, dict[str, Any]]:
    return {line: estimate.as_dict() for line, estimate in lines.items()}


def render(comparison: Comparison) -> str:
    """Write a comparison as a plain text table, models across and evaluation sets down.

    Args:
        comparison: The models.

    Returns:
        A line per set, so that any number of sets fits a terminal; the means of the models that
        have all sets; for every model what it keeps of the first teacher and what it gained over
        the start, on the sets that both have; held-out agreement; speed and size. Two more columns
        give the first student's retention and gain line by line, with their 95% intervals where
        items or tasks could be resampled. Lines for which no model has a value are left out. Of
        several heads or teachers a second table gives every head's dimensions, mean, retention of
        every teacher, and gain. The last one gives every model's held-out agreement with its 95%
        interval, where it was measured.
    """
    models, kinds = comparison.models, comparison.kinds
    student = comparison.students[0] if comparison.students else None
    teacher = comparison.teachers[0] if comparison.teachers else None
    kept = retention(student, teacher, kinds) if student and teacher else {}
    points = gain(student, comparison.start, kinds) if student and comparison.start else {}
    lines = [comparison.lines(model) for model in models]
    scores = [
        [
            name,
            *(_number(own.get(name), ".2f") for own in lines),
            _text(kept.get(name), ".1f", "%"),
            _text(points.get(name), "+.2f"),
        ]
        for name in _names(comparison)
    ]
    agreement = [
        _agreement_row(label, models, student, teacher, comparison.start) for label in MEASURES
    ]
    measures = [
        [label, *(cell(model) for model in models), "", ""]
        for label, cell in _measures(teacher, comparison.start, kinds).items()
    ]
    header = ["", *(model.model for model in models), "kept", "gained"]
    filled = [[row for row in block if any(row[1:])] for block in (scores, agreement, measures)]
    table = aligned(header, [block for block in filled if block])
    more = [_heads(comparison) if comparison.tasks else "", _agreements(models)]
    return "\n\n".join([table, *(one for one in more if one)])


def _names(comparison: Comparison) -> list[str]:
    """The lines of scores: the tasks, their types, any other that a reference has, the means."""
    tasks = dict.fromkeys(task for model in comparison.models for task in model.tasks)
    names = list(table_lines(comparison.tasks, comparison.kinds))
    own = [name for model in comparison.models for name in comparison.lines(model)]
    found = dict.fromkeys([*tasks, *names, *own])
    return [*(name for name in found if name not in MEANS), *(n for n in found if n in MEANS)]


def _heads(comparison: Comparison) -> str:
    """Dimension against quality: a line per head, its retention of every teacher and its gain."""
    if len(comparison.students) < 2 and len(comparison.teachers) < 2:
        return ""
    kinds, start = comparison.kinds, comparison.start
    rows = []
    for student in comparison.students:
        points = gain(student, start, kinds).get(MEAN) if start else None
        rows.append(
            [
                student.model,
                _number(student.dim, "d"),
                _number(comparison.mean(student), ".2f"),
                *(
                    _text(retention(student, teacher, kinds).get(MEAN), ".1f", "%")
                    for teacher in comparison.teachers
                ),
                _text(points, "+.2f"),
            ]
        )
    kept = [f"kept of {teacher.model}" for teacher in comparison.teachers]
    return aligned(["head", "dimensions", "mean", *kept, "gained"], [rows]) if rows else ""


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

    ours = student.held_out if student else None
    kept = kept_agreement(ours, teacher.held_out if teacher else None).get(measure)
    gained = gained_agreement(ours, start.held_out if start else None).get(measure)
    return [
        f"held-out {_called(measure)}",
        *(_number(value(model), ".4f") for model in models),
        _text(kept, ".1f", "%"),
        _text(gained, "+.4f"),
    ]


def _called(measure: str) -> str:
    return measure if measure == "cosine" else measure.capitalize()


def _agreements(models: Sequence[Scores]) -> str:
    """Held-out agreement with its intervals: a line for each model."""
    known = [
        (one.model, one.held_out) for one in models if one.held_out and one.held_out.influences
    ]
    names = [name for name in MEASURES if any(name in one.influences for _, one in known)]
    rows = [
        [model, *(_text(found.measure(name), ".4f") for name in names)] for model, found in known
    ]
    return aligned(["held-out", *map(_called, names)], [rows]) if rows else ""


def _measures(
    teacher: Scores | None, start: Scores | None, kinds: Mapping[str, str]
) -> dict[str, Callable[[Scores], str]]:
    """Labels and cells of the lines that are not evaluation sets."""
    lines: dict[str, Callable[[Scores], str]] = {}
    if teacher:
        reference = teacher
        lines[f"kept of {teacher.model}"] = lambda model: _number(
            _value(retention(model, reference, kinds)), ".1f", "%"
        )
    if start:
        origin = start
        lines["gained over the start"] = lambda model: _number(
            None if model is origin else _value(gain(model, origin, kinds)), "+.2f"
        )
    return lines | {
        "texts/s": lambda model: _number(model.texts_per_s, ",.0f"),
        "parameters": lambda model: _number(model.parameters, ",d"),
        "dimensions": lambda model: _number(model.dim, "d"),
    }


def _value(lines: Mapping[str, Estimate]) -> float | None:
    return lines[MEAN].value if MEAN in lines else None


def _model_dict(scores: Scores, comparison: Comparison) -> dict[str, Any]:
    fields = {
        "model": scores.model,
        "tasks": dict(scores.tasks),
        "dim": scores.dim,
        "parameters": scores.parameters,
        "texts_per_s": scores.texts_per_s,
        "held_out": scores.held_out.as_dict() if scores.held_out else None,
    }
    return fields | {"mean": comparison.mean(scores), "lines": comparison.lines(scores)}


def _text(estimate: Estimate | None, form: str, unit: str = "") -> str:
    return "" if estimate is None else estimate.text(form, unit)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"
