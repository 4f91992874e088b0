"""A report in a few sentences."""

from collections.abc import Iterator

from pipelines.report_page.facts import Compared, RunFacts
from pipelines.report_page.measured import Measured, Model, StudentModel


def summary(facts: RunFacts) -> list[str]:
    """Say what a run made, and what it reached.

    Args:
        facts: The run.

    Returns:
        Sentences; none before there is anything to say.
    """
    found = facts.evaluation.facts
    reached = [line for one in (found.comparisons if found else ()) for line in _reached(one)]
    return [*_made(facts), *dict.fromkeys(reached)]


def _made(facts: RunFacts) -> Iterator[str]:
    if facts.corpus.facts is not None:
        names = " and ".join(teacher.name for teacher in facts.recipe.target_teachers)
        rows = facts.corpus.facts.manifest.rows
        yield f"The student learns from {rows:,} texts what {names} make of them."


def _reached(compared: Compared) -> Iterator[str]:
    measured = compared.measured
    if not measured.students:
        return
    student = measured.students[0]
    on = f"On {_named(compared)}, {student.model}"
    if measured.teachers:
        teacher = measured.teachers[0]
        kept = student.kept(teacher, measured.quality)
        if kept is not None:
            yield f"{on} keeps {kept.value:.1f}% of {teacher.model}{_by(measured)}."
        yield from _faster(student, teacher)
    if measured.start is not None:
        after, before = measured.score(student), measured.score(measured.start)
        if after is not None and before is not None:
            form = ".2f" if measured.has_scores else ".4f"
            yield f"{on} reaches {after:{form}}{_by(measured)}, its start {before:{form}}."
    yield from _smallest(measured, _named(compared))


def _named(compared: Compared) -> str:
    if compared.title.startswith(("Held-out", "Evaluation")):
        return "the evaluation sets" if compared.measured.has_scores else "held-out spans"
    return compared.title


def _by(measured: Measured) -> str:
    return "" if measured.has_scores else " (Spearman)"


def _faster(student: StudentModel, teacher: Model) -> Iterator[str]:
    if student.texts_per_s and teacher.texts_per_s:
        yield (
            f"{student.model} encodes {student.texts_per_s:,.0f} texts per second where "
            f"{teacher.model} encodes {teacher.texts_per_s:,.0f}, on the machine of the evaluation."
        )


def _smallest(measured: Measured, on: str) -> Iterator[str]:
    """What the head of the fewest numbers keeps of the first."""
    first = measured.students[0]
    last = min(measured.students, key=lambda student: student.dim or 0)
    whole, part = measured.score(first), measured.score(last)
    if last is first or not whole or part is None or not first.dim or not last.dim or whole < 0:
        return
    yield (
        f"On {on}, {last.model}, of {last.dim:,} numbers instead of {first.dim:,}, keeps "
        f"{100 * part / whole:.1f}% of {first.model}{_by(measured)}."
    )
