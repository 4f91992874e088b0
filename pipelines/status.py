"""Where a run stands."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.pairs.corpus import PairCorpus
from pipelines.captions_commands import TEACH
from pipelines.captions_progress import captions_progress
from pipelines.kept_robustness import COMMAND, KeptRobustness
from pipelines.report import duration
from pipelines.results import Results, Weights, current_results, last_weights
from pipelines.run import Run
from pipelines.stage_pace import StagePace
from pipelines.suggestions import in_run
from student.config import CAPTIONS_TEACHER
from student.export_record import ExportRecord
from teacher_cache.config import TeacherConfig
from teacher_cache.layout import ShardLayout
from teacher_cache.progress import TeacherProgress, teacher_progress
from teacher_cache.store import TeacherStore

_TEACHER_FIELDS = (
    "running", "missing", "bad", "rows_left", "rows_per_second", "seconds_left", "running_on",
    "written_by",
)  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """One piece of work.

    Attributes:
        what: ``corpus``, ``teacher NAME``, ``stage N NAME``, ``eval``, ``robustness`` or
            ``export``.
        done: Units done.
        total: Units in all; None while nobody can know.
        unit: Rows, shards, steps or files.
        teacher: More about a teacher, once its shards are known.
        pace: How a stage is getting on, once it has logged a line.
        command: What does it, or goes on with it.
        note: Why it counts as open though there is something.
    """

    what: str
    done: int
    total: int | None
    unit: str
    teacher: TeacherProgress | None = None
    pace: StagePace | None = None
    command: str = ""
    note: str = ""

    @property
    def open(self) -> bool:
        """Whether anything is left to do."""
        return self.done != self.total

    @property
    def under_way(self) -> bool:
        """Whether a live worker is at it, as far as anybody can tell from here."""
        if self.teacher is not None:
            return self.teacher.running > 0
        return self.pace is not None and not self.pace.silent

    def as_line(self, width: int) -> str:
        """The line for people.

        Args:
            width: Columns for ``what``.
        """
        mark = "open" if self.open else "done"
        of = "" if self.total is None else f" of {self.total:,}"
        parts = [f"{mark:4}  {self.what:{width}}  {self.done:,}{of} {self.unit}"]
        if self.teacher is not None and self.open:
            parts += _more(self.teacher)
        if self.pace is not None and self.open:
            parts += self.pace.as_words()
        if self.note and self.open:
            parts.append(self.note)
        return ", ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The line for programs; a teacher's, a stage's and an open one have some more fields."""
        data: dict[str, Any] = {
            "what": self.what,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
        }
        if self.teacher is not None:
            more = asdict(self.teacher)
            data |= {name: more[name] for name in _TEACHER_FIELDS}
        if self.pace is not None:
            data["metrics"] = dict(self.pace.metrics)
            if self.open:
                data |= self.pace.as_dict()
        if self.open:
            data |= {"under_way": self.under_way, "next": self.command, "note": self.note}
        return data


def status(run: Run, weights: Weights | None = None) -> list[Progress]:
    """Look at what is on disk; nothing is loaded or changed.

    Args:
        run: The run.
        weights: ``last_weights`` of the run; None reads them.

    Returns:
        Every piece of work, in order.

    Raises:
        PipeError: The corpus or the store is there but broken.
    """
    lines = []
    layout = None
    prep = in_run("pipe prep", run.directory)
    if (run.corpus / "manifest.json").exists():
        corpus = Corpus.open(run.corpus)
        layout = ShardLayout(corpus.rows, corpus.rows_per_shard)
        lines.append(Progress("corpus", corpus.rows, corpus.rows, "rows"))
    else:
        lines.append(Progress("corpus", 0, run.recipe.corpus.texts, "rows", command=prep))
    store = None
    if (run.store / "manifest.json").exists():
        # A bad commit is counted and does not stop the count.
        store = TeacherStore.open(run.store, check_commits=False)
        layout = store.layout
    lines += [_teacher(run, teacher, layout, store) for teacher in run.recipe.teachers]
    pairs, captions = _pairs(run, prep)
    lines += pairs
    places = run.students
    for number, stage in enumerate(run.recipe.stages, start=1):
        step = stage.steps if places.finished(number) else places.last_checkpoint(number)
        if stage.inputs == "images":
            lines += captions  # their vectors are those of the stage before
            captions = []
        pace = StagePace.of(places.metrics(number), stage)
        what = f"stage {number} {stage.name}"
        command = f"{in_run('pipe distill', run.directory)} --stage {number}"
        lines.append(Progress(what, step, stage.steps, "steps", pace=pace, command=command))
    lines += captions
    weights = weights or last_weights(run)
    for what, unit, found in (
        ("eval", "tables", _evaluated(run, weights)),
        ("export", "models", _exported(run, weights)),
    ):
        command = in_run(f"pipe {what}", run.directory)
        lines.append(Progress(what, int(found == ""), 1, unit, command=command, note=found or ""))
    return [*lines, *_robustness(run, weights)]


def _robustness(run: Run, weights: Weights) -> list[Progress]:
    """The measurement under other instructions, which nobody has to make."""
    command, note = COMMAND, "a broken file"
    with suppress(PipeError):
        found = KeptRobustness.read(run.robustness)
        if found is None:
            return []
        older = found.older(run, weights)
        command, note = found.command, f"of {older}" if older else ""
    command = in_run(command, run.directory)
    return [Progress("robustness", int(not note), 1, "tables", command=command, note=note)]


def _pairs(run: Run, prep: str) -> tuple[list[Progress], list[Progress]]:
    """Where image-caption pairs stand, and where their captions' vectors."""
    if run.recipe.pairs is None:
        return [], []
    what = f"teacher {CAPTIONS_TEACHER}, of captions"
    found, teach = captions_progress(run), in_run(TEACH, run.directory)
    if found is None:
        wanted = run.recipe.pairs.pairs
        return (
            [Progress("pairs", 0, wanted, "rows", command=prep)],
            [Progress(what, 0, None, "shards", command=teach)],
        )
    rows = PairCorpus.open(run.pairs).rows
    return (
        [Progress("pairs", rows, rows, "rows")],
        [Progress(what, found.done, found.shards, "shards", found, command=teach)],
    )


def _teacher(
    run: Run, teacher: TeacherConfig, layout: ShardLayout | None, store: TeacherStore | None
) -> Progress:
    name = teacher.name
    what, unit = f"teacher {name}", "shards"
    if store and name in store.teachers and store.entry(name).fingerprint != teacher.fingerprint:
        what += " (its settings have changed: see `pipe teach`)"
    command = f"{in_run('pipe teach', run.directory)} --teacher {name}"
    if layout is None:
        return Progress(what, 0, None, unit, command=command)
    found = teacher_progress(store, name) if store else TeacherProgress.untouched(name, layout)
    if found.bad:  # which teaching refuses until they are set aside
        command = in_run("pipe store repair", run.directory)
    return Progress(what, found.done, found.shards, unit, found, command=command)


def _more(found: TeacherProgress) -> list[str]:
    hosts = ", ".join(f"{count:,} on {host}" for host, count in found.running_on.items())
    parts = [
        f"{count:,} {what}"
        for count, what in (
            (found.running, f"running ({hosts})" if hosts else "running"),
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


def _evaluated(run: Run, weights: Weights) -> str | None:
    """Empty if the kept table is of the last stage as it is now; what it is of; None for none."""
    try:
        if current_results(run, weights) is not None:
            return ""
    except PipeError:
        return "the evaluation sets are not to be seen here, so nobody can tell of what"
    last, kept = len(run.recipe.stages), Results.read(run.results)
    if kept is None:
        return None
    return f"of stage {kept.of.stage}" if kept.of.stage != last else "of other weights or settings"


def _exported(run: Run, weights: Weights) -> str | None:
    """Empty if the export is of the last stage as it is now; what it is of; None for none."""
    last = len(run.recipe.stages)
    record = ExportRecord.read(run.export)
    if record is None:
        return None
    if record.stage != last:
        return f"of stage {record.stage}"
    now = run.students.finished(last) and weights()
    return "" if record.weights == now else "of other weights"


def as_text(lines: list[Progress]) -> str:
    """The status for people.

    Args:
        lines: What ``status`` found.
    """
    width = max(len(line.what) for line in lines)
    left = [line for line in lines if line.open]
    now = ", ".join(line.what for line in left if line.under_way)
    told = [line.as_line(width) for line in lines]
    if now:
        told += ["", f"under way: {now}"]
    elif left:
        told += ["", f"next: {left[0].what}, by `{left[0].command}`"]
    return "\n".join(told)


def as_data(lines: list[Progress]) -> list[dict[str, Any]]:
    """The status for programs.

    Args:
        lines: What ``status`` found.
    """
    return [line.as_dict() for line in lines]
