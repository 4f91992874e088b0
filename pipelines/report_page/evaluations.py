"""What was measured of a run's student: one source for each kind of measurement."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from data_prep.errors import PipeError
from data_prep.files import read_json
from pipelines.kept_robustness import COMMAND, KeptRobustness, older_student
from pipelines.report_page.compared import compared_tables
from pipelines.report_page.facts import Compared, EvaluationFacts, Found, Table
from pipelines.report_page.measured import Measured
from pipelines.report_page.on_images import found_images, images_table
from pipelines.report_page.svg import allowed
from pipelines.report_page.wordings import wording_tables
from pipelines.results import Results, Weights, current_results
from pipelines.run import Run
from pipelines.suggestions import in_run


@dataclass(frozen=True, slots=True)
class EvaluationSource:
    """A kind of measurement.

    Attributes:
        name: What it is called in notes.
        command: What makes it again.
        read: Gives what is kept, as comparisons and tables in the order in which the page shows
            them, and as notes; nothing where it was not measured. What is damaged raises an error
            of ``DAMAGE``.
    """

    name: str
    command: str
    read: Callable[[Run, Results | None], Iterator[Compared | Table | str]]


DAMAGE: Final = (PipeError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""What reading a file of another shape ends in."""

_NAMED: Final = re.compile(r'"benchmark": *("(?:[^"\\]|\\.)*")')


def gather_evaluation(run: Run, weights: Weights) -> Found[EvaluationFacts]:
    """Read what was measured.

    Args:
        run: The run.
        weights: ``last_weights`` of the run.

    Returns:
        It, and notes on what is missing, damaged or of other weights.
    """
    command = f"`{in_run('pipe eval', run.directory)}`"
    kept, notes = Results.read(run.results), []
    if kept is None and run.results.exists():
        notes.append(f"{run.results} is not a whole evaluation; {command} makes it anew.")
    elif kept is None:
        notes.append(f"The student is not measured yet; {command} measures it.")
    elif (stale := _stale(run, kept, weights)) is not None:
        notes.append(f"{stale}; {command} measures anew.")
    comparisons: list[Compared] = []
    tables: list[Table] = []
    for source in _sources(run, weights):
        try:
            found = list(source.read(run, kept))
        except DAMAGE:
            again = f"`{in_run(source.command, run.directory)}`"
            notes.append(f"What is kept of {source.name} cannot be read; {again} makes it anew.")
            continue
        comparisons += [one for one in found if isinstance(one, Compared)]
        for one in found:
            if isinstance(one, str):
                notes.append(one)
            else:
                tables += compared_tables(one) if isinstance(one, Compared) else [one]
    seen = kept is not None and "images" in kept.comparison
    picture = found_images(run.results.parent / "found-images.png") if seen else ""
    return Found(EvaluationFacts(tuple(comparisons), tuple(tables), picture), tuple(notes))


def _stale(run: Run, kept: Results, weights: Weights) -> str | None:
    last = len(run.recipe.stages)
    if kept.of.stage != last:
        return f"The evaluation is of stage {kept.of.stage}, and the last one is stage {last}"
    try:
        current = current_results(run, weights)
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


def _benchmark(path: Path, weights: Weights) -> EvaluationSource:
    """The table of a benchmark of mteb that was run."""
    named = _benchmark_name(path)
    command = f"pipe eval --mteb {shlex.quote(named) if named else 'NAME'}"

    def read(run: Run, kept: Results | None) -> Iterator[Compared | str]:
        data = read_json(path)
        done, whole = int(data["measured"]), int(data["tasks"])
        lost = sum(len(tasks) for tasks in data.get("failed", {}).values())
        note = f"{done:,} of {whole:,} tasks are measured, with mteb {data['mteb']}."
        if done < whole:
            note += " Means over fewer tasks do not compare with those of others."
        heads = [one["model"] for one in data["students"]]
        stage = data.get("stage")
        older = older_student(run, stage, data.get("revisions", {}), weights, heads)
        if older:
            note += f" {_of_other(older)}."
            again = f"`{in_run(command, run.directory)}`"
            yield f"{named}: {_of_other(older)}; {again} measures anew."
        elif stage not in (None, len(run.recipe.stages)):
            note += f" {_of_other(f'stage {stage}')}, the last one that is finished."
        if lost:
            note += f" {lost:,} measurements failed."
        yield Compared(allowed(str(data["benchmark"])), Measured.model_validate(data), note)

    return EvaluationSource(f"the benchmark in {path}", command, read)


def _of_other(older: str) -> str:
    """A sentence without its end on a student that is not the run's last one as it stands now."""
    if older.startswith("stage"):
        return f"The student is that of {older}"
    return f"The student is one of {older} than stand in the run now"


def _benchmark_name(path: Path) -> str:
    """What a benchmark is called, as far as a file that may be damaged tells."""
    try:
        found = _NAMED.search(path.read_text(encoding="utf-8", errors="replace"))
        return allowed(json.loads(found[1])) if found else ""
    except (OSError, ValueError):
        return ""


def _wordings(weights: Weights) -> EvaluationSource:
    """Scores under an instruction and under other words for it."""

    def read(run: Run, kept: Results | None) -> Iterator[Table | str]:
        found = KeptRobustness.read(run.robustness)
        if found is None:
            return
        yield from wording_tables(found.data)
        older = found.older(run, weights)
        if older:
            again = f"`{in_run(found.command, run.directory)}`"
            yield f"Instructions in other words: {_of_other(older)}; {again} measures anew."

    return EvaluationSource("the measurement under other instructions", COMMAND, read)


def _sources(run: Run, weights: Weights) -> Iterator[EvaluationSource]:
    """In the order in which the page shows them."""
    yield EvaluationSource("the comparison with teachers and start", "pipe eval", _own)
    for path in sorted(run.benchmarks.glob("*.json")):
        yield _benchmark(path, weights)
    yield _wordings(weights)
    yield EvaluationSource("the measurement on images", "pipe eval", _on_images)
