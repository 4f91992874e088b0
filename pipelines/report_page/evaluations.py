"""What was measured of a run's student: one row of ``SOURCES`` for each kind of measurement."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from data_prep.errors import PipeError
from data_prep.files import read_json
from pipelines.report_page.compared import compared_tables
from pipelines.report_page.facts import Compared, EvaluationFacts, Found, Table
from pipelines.report_page.measured import Measured
from pipelines.report_page.on_images import found_images, images_table
from pipelines.report_page.wordings import wording_tables
from pipelines.results import Results, current_results
from pipelines.run import Run


@dataclass(frozen=True, slots=True)
class EvaluationSource:
    """A kind of measurement.

    Attributes:
        name: What it is called in notes.
        command: What makes it again.
        read: Gives what is kept, as comparisons and tables in the order in which the page shows
            them; nothing where it was not measured. What is damaged raises an error of ``DAMAGE``.
    """

    name: str
    command: str
    read: Callable[[Run, Results | None], Iterator[Compared | Table]]


DAMAGE: Final = (PipeError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""What reading a file of another shape ends in."""


def gather_evaluation(run: Run) -> Found[EvaluationFacts]:
    """Read what was measured.

    Args:
        run: The run.

    Returns:
        It, and notes on what is missing, damaged or of other weights.
    """
    command = f"`pipe eval --run {run.directory}`"
    kept, notes = Results.read(run.results), []
    if kept is None and run.results.exists():
        notes.append(f"{run.results} is not a whole evaluation; {command} makes it anew.")
    elif kept is None:
        notes.append(f"The student is not measured yet; {command} measures it.")
    elif (stale := _stale(run, kept)) is not None:
        notes.append(f"{stale}; {command} measures anew.")
    comparisons: list[Compared] = []
    tables: list[Table] = []
    for source in SOURCES:
        try:
            found = list(source.read(run, kept))
        except DAMAGE:
            again = f"`{source.command} --run {run.directory}`"
            notes.append(f"What is kept of {source.name} cannot be read; {again} makes it anew.")
            continue
        comparisons += [one for one in found if isinstance(one, Compared)]
        for one in found:
            tables += compared_tables(one) if isinstance(one, Compared) else [one]
    seen = kept is not None and "images" in kept.comparison
    picture = found_images(run.results.parent / "found-images.png") if seen else ""
    return Found(EvaluationFacts(tuple(comparisons), tuple(tables), picture), tuple(notes))


def _stale(run: Run, kept: Results) -> str | None:
    last = len(run.recipe.stages)
    if kept.of.stage != last:
        return f"The evaluation is of stage {kept.of.stage}, and the last one is stage {last}"
    try:
        current = current_results(run)
    except PipeError as error:
        return f"Nobody can tell whether the evaluation is up to date ({error})"
    if current is None:
        return "The evaluation is of other weights, settings or data than stand in the run now"
    return None


def _own(run: Run, kept: Results | None) -> Iterator[Compared]:
    """The user's own sets, and agreement on held-out spans."""
    if kept is not None:
        measured = Measured.model_validate(dict(kept.comparison))
        both = "Evaluation sets and held-out spans" if measured.has_scores else "Held-out spans"
        yield Compared(both, measured)


def _on_images(run: Run, kept: Results | None) -> Iterator[Table]:
    """Retrieval among held-out image-caption pairs."""
    if kept is not None and "images" in kept.comparison:
        yield images_table(kept.comparison["images"])


def _benchmarks(run: Run, kept: Results | None) -> Iterator[Compared]:
    """A table for each benchmark of mteb that was run."""
    for path in sorted(run.benchmarks.glob("*.json")):
        data = read_json(path)
        done, whole = int(data["measured"]), int(data["tasks"])
        lost = sum(len(tasks) for tasks in data.get("failed", {}).values())
        note = f"{done:,} of {whole:,} tasks are measured, with mteb {data['mteb']}."
        if done < whole:
            note += " Means over fewer tasks do not compare with those of others."
        if data.get("stage") not in (None, len(run.recipe.stages)):
            note += f" The student is that of stage {int(data['stage'])}."
        if lost:
            note += f" {lost:,} measurements failed."
        yield Compared(str(data["benchmark"]), Measured.model_validate(data), note)


def _wordings(run: Run, kept: Results | None) -> Iterator[Table]:
    """Scores under an instruction and under other words for it."""
    if run.robustness.is_file():
        yield from wording_tables(read_json(run.robustness))


SOURCES: Final = (
    EvaluationSource("the comparison with teachers and start", "pipe eval", _own),
    EvaluationSource("the benchmarks", "pipe eval --mteb NAME", _benchmarks),
    EvaluationSource("the measurement under other instructions", "pipe robustness", _wordings),
    EvaluationSource("the measurement on images", "pipe eval", _on_images),
)
"""In the order in which the page shows them."""
