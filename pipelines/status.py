"""Where a run stands."""

from dataclasses import asdict, dataclass
from typing import Any

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from pipelines.results import current_results
from pipelines.run import Run
from student.export_record import ExportRecord, weights_digest
from teacher_cache.store import TeacherStore


@dataclass(frozen=True)
class Progress:
    """One piece of work.

    Attributes:
        what: ``corpus``, ``teacher NAME``, ``stage N NAME``, ``eval`` or ``export``.
        done: Units done.
        total: Units in all; None while nobody can know.
        unit: Rows, shards, steps or files.
    """

    what: str
    done: int
    total: int | None
    unit: str


def status(run: Run) -> list[Progress]:
    """Look at what is on disk; nothing is loaded or changed.

    Args:
        run: The run.

    Returns:
        Every piece of work, in order.

    Raises:
        PipeError: The corpus or the store is there but broken.
    """
    lines = []
    shards = None
    if (run.corpus / "manifest.json").exists():
        corpus = Corpus.open(run.corpus)
        shards = corpus.num_shards
        lines.append(Progress("corpus", corpus.rows, corpus.rows, "rows"))
    else:
        lines.append(Progress("corpus", 0, run.recipe.corpus.texts, "rows"))
    store = TeacherStore.open(run.store) if (run.store / "manifest.json").exists() else None
    for teacher in run.recipe.teachers:
        known = store is not None and teacher.name in store.teachers
        done = len(store.committed(teacher.name)) if store and known else 0
        lines.append(Progress(f"teacher {teacher.name}", done, shards, "shards"))
    places = run.students
    for number, stage in enumerate(run.recipe.stages, start=1):
        step = stage.steps if places.finished(number) else places.last_checkpoint(number)
        lines.append(Progress(f"stage {number} {stage.name}", step, stage.steps, "steps"))
    lines.append(Progress("eval", int(_evaluated(run)), 1, "tables"))
    lines.append(Progress("export", int(_exported(run)), 1, "models"))
    return lines


def _evaluated(run: Run) -> bool:
    """Whether the kept table is of the last stage as it is now."""
    try:
        return current_results(run) is not None
    except PipeError:
        # The evaluation sets are not on this machine, so nobody can tell.
        return False


def _exported(run: Run) -> bool:
    """Whether the export is of the last stage as it is now."""
    last = len(run.recipe.stages)
    record = ExportRecord.read(run.export)
    if record is None or record.stage != last or not run.students.finished(last):
        return False
    return record.weights == weights_digest(run.students.final(last))


def as_text(lines: list[Progress]) -> str:
    """The status for people.

    Args:
        lines: What ``status`` found.
    """
    width = max(len(line.what) for line in lines)
    return "\n".join(
        f"{'done' if line.done == line.total else 'open':4}  {line.what:{width}}  "
        f"{line.done:,}{'' if line.total is None else f' of {line.total:,}'} {line.unit}"
        for line in lines
    )


def as_data(lines: list[Progress]) -> list[dict[str, Any]]:
    """The status for programs.

    Args:
        lines: What ``status`` found.
    """
    return [asdict(line) for line in lines]
