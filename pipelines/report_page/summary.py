"""A report in a few sentences."""

from collections.abc import Iterator

from pipelines.report_page.evaluations import agreement, kept_share
from pipelines.report_page.facts import RunFacts
from student.evaluation.table import Comparison, Scores


def summary(facts: RunFacts) -> list[str]:
    """Say what a run made, and what it reached.

    Args:
        facts: The run.

    Returns:
        Sentences; none before there is anything to say.
    """
    return [*_made(facts), *_reached(facts)]


def _made(facts: RunFacts) -> Iterator[str]:
    if facts.corpus.facts is not None:
        names = " and ".join(teacher.name for teacher in facts.recipe.target_teachers)
        rows = facts.corpus.facts.manifest.rows
        yield f"The student learns from {rows:,} texts what {names} make of them."


def _reached(facts: RunFacts) -> Iterator[str]:
    found = facts.evaluation.facts
    if found is None or found.comparison is None or not found.comparison.students:
        return
    compared = found.comparison
    student = compared.students[0]
    if compared.teachers:
        yield from _against(student, compared.teachers[0])
    if compared.start is not None:
        yield from _gained(student, compared.start)
    yield from _smallest(compared)


def _against(student: Scores, teacher: Scores) -> Iterator[str]:
    by_sets = bool(student.tasks and teacher.tasks)
    kept = kept_share(student, teacher, "mean" if by_sets else "spearman")
    if kept is not None:
        of = "mean score on the evaluation sets" if by_sets else "agreement on held-out spans"
        measured = "" if by_sets else " (Spearman)"
        yield f"{student.model} keeps {kept:.1f}% of {teacher.model}'s {of}{measured}."
    if student.texts_per_s and teacher.texts_per_s:
        yield (
            f"It encodes {student.texts_per_s:,.0f} texts per second where {teacher.model} "
            f"encodes {teacher.texts_per_s:,.0f}, on the machine of the evaluation."
        )


def _gained(student: Scores, start: Scores) -> Iterator[str]:
    if student.mean is not None and start.mean is not None:
        ours, origin, of = f"{student.mean:.2f}", f"{start.mean:.2f}", "mean score is"
    else:
        after, before = agreement(student, "spearman"), agreement(start, "spearman")
        if after is None or before is None:
            return
        ours, origin, of = f"{after:.4f}", f"{before:.4f}", "held-out Spearman is"
    yield f"Its {of} {ours}; what it started from had {origin}."


def _smallest(compared: Comparison) -> Iterator[str]:
    """What the head of the fewest numbers keeps of the first."""
    first = compared.students[0]
    last = min(compared.students, key=lambda student: student.dim or 0)
    kept = kept_share(last, first, "mean" if first.tasks else "spearman")
    if last is not first and kept is not None and first.dim and last.dim:
        yield f"{last.model}, of {last.dim:,} numbers instead of {first.dim:,}, keeps {kept:.1f}%."
