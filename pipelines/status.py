"""Where a run stands."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.pairs.corpus import PairCorpus
from pipelines.captions_progress import captions_progress
from pipelines.report import duration
from pipelines.results import current_results
from pipelines.run import Run
from student.config import CAPTIONS_TEACHER
from student.export_record import ExportRecord, weights_digest
from student.metrics import last_metrics
from teacher_cache.config import TeacherConfig
from teacher_cache.layout import ShardLayout
from teacher_cache.progress import TeacherProgress, teacher_progress
from teacher_cache.store import TeacherStore

_TEACHER_FIELDS = ("running", "missing", "bad", "rows_left", "rows_per_second", "seconds_left")


@dataclass(frozen=True)
class Progress:
    """One piece of work.

    Attributes:
        what: ``corpus``, ``teacher NAME``, ``stage N NAME``, ``eval`` or ``export``.
        done: Units done.
        total: Units in all; None while nobody can know.
        unit: Rows, shards, steps or files.
        teacher: More about a teacher, once its shards are known.
        metrics: The last line of a stage's metrics, once there is one.
    """

    what: str
    done: int
    total: int | None
    unit: str
    teacher: TeacherProgress | None = None
    metrics: Mapping[str, Any] | None = None

    def as_line(self, width: int) -> str:
        """The line for people.

        Args:
            width: Columns for ``what``.
        """
        mark = "done" if self.done == self.total else "open"
        of = "" if self.total is None else f" of {self.total:,}"
        parts = [f"{mark:4}  {self.what:{width}}  {self.done:,}{of} {self.unit}"]
        if self.teacher is not None and self.done != self.total:
            parts += _more(self.teacher)
        if self.metrics is not None and self.done != self.total:
            parts.append(f"loss {self.metrics['loss']:.4f} at step {self.metrics['step']:,}")
        return ", ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The line for programs; a teacher's and a stage's have some more fields."""
        data: dict[str, Any] = {
            "what": self.what,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
        }
        if self.teacher is not None:
            more = asdict(self.teacher)
            data |= {name: more[name] for name in _TEACHER_FIELDS}
        if self.metrics is not None:
            data["metrics"] = dict(self.metrics)
        return data


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
    layout = None
    if (run.corpus / "manifest.json").exists():
        corpus = Corpus.open(run.corpus)
        layout = ShardLayout(corpus.rows, corpus.rows_per_shard)
        lines.append(Progress("corpus", corpus.rows, corpus.rows, "rows"))
    else:
        lines.append(Progress("corpus", 0, run.recipe.corpus.texts, "rows"))
    store = None
    if (run.store / "manifest.json").exists():
        # A bad commit is counted and does not stop the count.
        store = TeacherStore.open(run.store, check_commits=False)
        layout = store.layout
    lines += [_teacher(teacher, layout, store) for teacher in run.recipe.teachers]
    lines += _pairs(run)
    places = run.students
    for number, stage in enumerate(run.recipe.stages, start=1):
        step = stage.steps if places.finished(number) else places.last_checkpoint(number)
        metrics = last_metrics(places.metrics(number))
        what = f"stage {number} {stage.name}"
        lines.append(Progress(what, step, stage.steps, "steps", metrics=metrics))
    lines.append(Progress("eval", int(_evaluated(run)), 1, "tables"))
    lines.append(Progress("export", int(_exported(run)), 1, "models"))
    return lines


def _pairs(run: Run) -> list[Progress]:
    """Where image-caption pairs and their captions' vectors stand."""
    if run.recipe.pairs is None:
        return []
    what = f"teacher {CAPTIONS_TEACHER}, of captions"
    found = captions_progress(run)
    if found is None:
        wanted = run.recipe.pairs.pairs
        return [Progress("pairs", 0, wanted, "rows"), Progress(what, 0, None, "shards")]
    rows = PairCorpus.open(run.pairs).rows
    return [
        Progress("pairs", rows, rows, "rows"),
        Progress(what, found.done, found.shards, "shards", found),
    ]


def _teacher(
    teacher: TeacherConfig, layout: ShardLayout | None, store: TeacherStore | None
) -> Progress:
    name = teacher.name
    what, unit = f"teacher {name}", "shards"
    if store and name in store.teachers and store.entry(name).fingerprint != teacher.fingerprint:
        what += " (its settings have changed: see `pipe teach`)"
    if layout is None:
        return Progress(what, 0, None, unit)
    found = teacher_progress(store, name) if store else TeacherProgress.untouched(name, layout)
    return Progress(what, found.done, found.shards, unit, found)


def _more(found: TeacherProgress) -> list[str]:
    parts = [
        f"{count:,} {what}"
        for count, what in (
            (found.running, "running"),
            (found.missing, "missing"),
            (found.bad, "bad (see `pipe store verify`)"),
        )
        if count
    ]
    if found.rows_per_second is not None and found.seconds_left is not None:
        if found.running:
            parts.append(f"{found.rows_per_second:,.0f} rows/s")
            parts.append(f"about {duration(found.seconds_left)} left")
        else:
            parts.append(f"{found.rows_per_second:,.0f} rows/s when it ran")
    return parts


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
    return "\n".join(line.as_line(width) for line in lines)


def as_data(lines: list[Progress]) -> list[dict[str, Any]]:
    """The status for programs.

    Args:
        lines: What ``status`` found.
    """
    return [line.as_dict() for line in lines]
