"""The tables of a comparison: scores by model, and what each head keeps."""

import math
from collections.abc import Sequence

from pipelines.report_page.facts import Compared, Table
from pipelines.report_page.measured import AGREEMENTS, Measured, StudentModel
from student.evaluation.intervals import Estimate
from student.evaluation.lines import MEAN

_BRACKETS = "In brackets the 95% interval, over the sets' items, the tasks, or the held-out spans."


def compared_tables(compared: Compared) -> list[Table]:
    """Put a comparison into tables.

    Args:
        compared: Teachers, start, student and references.

    Returns:
        The scores, and what the student keeps and gained by head; without those that would be
        empty.
    """
    measured = compared.measured
    tables = [_scores(compared), _by_head(compared)]
    if measured.has_scores and measured.students:
        tables.append(_by_line(compared))
    return [table for table in tables if table.rows and len(table.header) > 1]


def _scores(compared: Compared) -> Table:
    models = compared.measured.models
    names = list(dict.fromkeys(line for model in models for line in model.scores))
    means = [name for name in names if name.startswith(MEAN)]
    names = [*(name for name in names if name not in means), *means]
    rows = [[name, *(_cell(model.scores.get(name), ".2f") for model in models)] for name in names]
    rows += [
        [f"held-out {name}", *(_estimate(model.agreed(field), ".4f") for model in models)]
        for field, name in AGREEMENTS.items()
    ]
    rows += [
        ["texts/s", *(_cell(model.texts_per_s, ",.0f") for model in models)],
        ["parameters", *(_cell(model.parameters, ",d") for model in models)],
        ["dimensions", *(_cell(model.dim, ",d") for model in models)],
    ]
    header = ("", *(model.model for model in models))
    note = " ".join(part for part in (compared.note, _BRACKETS if _intervals(rows) else "") if part)
    return Table(compared.title, header, _filled(rows), note)


def _by_head(compared: Compared) -> Table:
    """What each head keeps of each teacher, and what it gained."""
    measured = compared.measured
    quality = measured.quality
    start = measured.start is not None
    header = ["", "dimensions", *(f"kept of {teacher.model}, %" for teacher in measured.teachers)]
    rows = [
        [
            student.model,
            _cell(student.dim, ",d"),
            *(_estimate(student.kept(teacher, quality), ".1f") for teacher in measured.teachers),
            *([_gained(student, measured)] if start else []),
        ]
        for student in measured.students
    ]
    header += ["gained over the start"] if start else []
    basis = "the mean over the sets" if measured.has_scores else "held-out Spearman"
    note = f"By {basis}."
    title = f"{compared.title}: kept and gained, by head"
    known = tuple(tuple(row) for row in rows if any(row[2:]))
    return Table(title, tuple(header), known, f"{note} {_BRACKETS}" if _intervals(rows) else note)


def _gained(student: StudentModel, measured: Measured) -> str:
    if measured.has_scores:
        return _estimate(student.gained(MEAN), "+.2f")
    if "spearman" in student.held_out_gain:
        return _estimate(student.held_out_gain["spearman"], "+.4f")
    after = student.agreement("spearman")
    before = measured.start.agreement("spearman") if measured.start else None
    return "" if after is None or before is None else f"{after - before:+.4f}"


def _by_line(compared: Compared) -> Table:
    """What the first head keeps and gained, line by line."""
    measured = compared.measured
    student = measured.students[0]
    rows = [
        [
            line,
            *(_estimate(student.kept(teacher, line), ".1f") for teacher in measured.teachers),
            *([_estimate(student.gained(line), "+.2f")] if measured.start else []),
        ]
        for line in student.scores
    ]
    header = ["", *(f"kept of {teacher.model}, %" for teacher in measured.teachers)]
    header += ["gained over the start"] if measured.start else []
    title = f"{compared.title}: kept and gained by {student.model}, line by line"
    return Table(title, tuple(header), _filled(rows), _BRACKETS if _intervals(rows) else "")


def _intervals(rows: Sequence[Sequence[str]]) -> bool:
    return any("[" in cell for row in rows for cell in row[1:])


def _filled(rows: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(row) for row in rows if any(row[1:]))


def _estimate(found: Estimate | None, form: str) -> str:
    return "" if found is None or not math.isfinite(found.value) else found.text(form)


def _cell(value: float | None, form: str) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:{form}}"
