"""What a run would do, what of it is done, and what the rest costs; from arithmetic alone."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from data_prep.corpus import Corpus
from data_prep.pairs.corpus import PairCorpus
from pipelines.captions_progress import CaptionsPlan, captions_plan
from pipelines.report import duration, size
from pipelines.run import Run
from student.stage_config import StageConfig
from student.stage_rows import fitting_steps
from teacher_cache.config import TeacherConfig
from teacher_cache.layout import ShardLayout
from teacher_cache.progress import TeacherProgress, teacher_progress
from teacher_cache.sizes import row_bytes
from teacher_cache.store import TeacherStore


@dataclass(frozen=True)
class TeacherPlan:
    """One teacher's share of the work.

    Attributes:
        name: The teacher.
        dim: Numbers in a vector.
        weight: Its share in the target; 0 keeps it out.
        tokens: Tokens to encode, at most; None while the number of rows is unknown.
        bytes: Bytes of its vectors; None while the number of rows is unknown, or the width of a
            row, which only a loaded model can tell where its pooled states are stored.
        license: Its licence.
        shards_done: Committed shards that are not damaged.
        shards_left: Shards still to encode; None while the number of rows is unknown.
        bytes_left: Bytes still to write, likewise.
        seconds_left: Time left at the pace of its latest commits; None if that tells nothing.
    """

    name: str
    dim: int
    weight: float
    tokens: int | None
    bytes: int | None
    license: str
    shards_done: int
    shards_left: int | None
    bytes_left: int | None
    seconds_left: float | None

    def as_line(self) -> str:
        """The teacher's line for people."""
        parts = [f"{self.dim}-d" if self.weight else f"{self.dim}-d, not in the target"]
        if self.tokens is not None:
            parts.append(f"at most {self.tokens:,} tokens to encode")
        if self.bytes is not None:
            parts.append(size(self.bytes))
        parts.append(f"licence {self.license}")
        if self.shards_left == 0:
            parts.append("done")
        elif self.shards_left is not None:
            shards = self.shards_done + self.shards_left
            parts.append(f"{self.shards_done:,} of {shards:,} shards done")
            if self.bytes_left is not None:
                parts.append(f"{size(self.bytes_left)} left to write")
        if self.seconds_left is not None:
            parts.append(f"about {duration(self.seconds_left)} left")
        return f"teacher  {self.name}: {', '.join(parts)}"


@dataclass(frozen=True)
class StagePlan:
    """One stage's share of the work.

    Attributes:
        number: From 1.
        name: The stage's name.
        steps: Optimizer steps.
        texts: Texts or images drawn, repetitions counted.
        inputs: Which of them.
        epochs: Passes over the corpus; None while the number of rows is unknown.
        trained: What trains.
        heads: Losses by head.
        steps_done: Steps that need not be done again: all, or those behind the last checkpoint.
        finished: Whether its final student stands.
        pooled_rows: Rows whose pooled states are kept while it trains, at most; 0 for none.
        pooled_bytes: Bytes that they take, at most; None while the student's width is unknown.
    """

    number: int
    name: str
    steps: int
    texts: int
    inputs: str
    epochs: float | None
    trained: str
    heads: dict[str, tuple[str, ...]]
    steps_done: int
    finished: bool
    pooled_rows: int
    pooled_bytes: int | None

    def as_lines(self) -> str:
        """The stage's lines for people."""
        epochs = f" ({self.epochs:.2f} epochs)" if self.epochs is not None else ""
        losses = "; ".join(f"{head}: {', '.join(names)}" for head, names in self.heads.items())
        done = f", {self.steps_done:,} steps done" if self.steps_done else ""
        keeps = ""
        if self.pooled_rows and not self.finished:
            known = f", {size(self.pooled_bytes)}" if self.pooled_bytes is not None else ""
            keeps = (
                f"\n         keeps the pooled states of at most {self.pooled_rows:,} rows{known}"
            )
        return (
            f"stage {self.number}  {self.name}: {self.steps:,} steps, "
            f"{self.texts:,} {self.inputs}{epochs}{', done' if self.finished else done}\n"
            f"         trains {self.trained}\n         losses {losses}{keeps}"
        )


@dataclass(frozen=True)
class Plan:
    """A run's work.

    Attributes:
        recipe: The recipe's name.
        rows: Rows of the corpus; None if the recipe leaves it to the sources.
        rows_are_exact: Whether the corpus stands already.
        shards: Shards of each teacher.
        target_width: T.
        store_bytes: Bytes of the store; None if a teacher's are unknown.
        store_bytes_left: Bytes of it that are still to be written, likewise.
        teachers: Each teacher's share.
        stages: Each stage's share.
        pairs: Image-caption pairs; None where the recipe has none, or leaves their number to the
            sources and they are not made yet.
        captions: What encodes their captions; None where no stage is on images.
    """

    recipe: str
    rows: int | None
    rows_are_exact: bool
    shards: int | None
    target_width: int
    store_bytes: int | None
    store_bytes_left: int | None
    teachers: tuple[TeacherPlan, ...]
    stages: tuple[StagePlan, ...]
    pairs: int | None = None
    captions: CaptionsPlan | None = None

    def as_dict(self) -> dict[str, Any]:
        """The plan for programs."""
        return asdict(self)

    def as_text(self) -> str:
        """The plan for people."""
        known = f"{self.rows:,}" if self.rows else "as many as the sources give"
        store = ""
        if self.store_bytes is not None and self.store_bytes_left is not None:
            store = f", {size(self.store_bytes)} of store, {size(self.store_bytes_left)} to write"
        return "\n".join(
            [
                f"recipe   {self.recipe}",
                f"corpus   {known} rows"
                + (" wanted" if self.rows and not self.rows_are_exact else "")
                + (f" in {self.shards:,} shards" if self.shards else "")
                + (", done" if self.rows_are_exact else ""),
                f"target   {self.target_width} numbers a row{store}",
                *(teacher.as_line() for teacher in self.teachers),
                *([f"pairs    {self.pairs:,} images with captions"] if self.pairs else []),
                *([self.captions.as_line()] if self.captions else []),
                *(stage.as_lines() for stage in self.stages),
            ]
        )


def plan(run: Run) -> Plan:
    """Work out what a run would do and what is left; nothing is loaded, downloaded or written.

    Args:
        run: The run, which need not exist yet.

    Returns:
        Rows, tokens, bytes and steps; exact once the corpus stands.

    Raises:
        PipeError: The corpus or the store is there but broken.
    """
    recipe = run.recipe
    exact = (run.corpus / "manifest.json").exists()
    rows = Corpus.open(run.corpus).rows if exact else recipe.corpus.texts
    layout = ShardLayout(rows, recipe.corpus.rows_per_shard) if rows else None
    stands = exact and (run.store / "manifest.json").exists()
    store = TeacherStore.open(run.store, check_commits=False) if stands else None
    pairs = recipe.pairs.pairs if recipe.pairs is not None else None
    if recipe.pairs is not None and (run.pairs / "manifest.json").exists():
        pairs = PairCorpus.open(run.pairs).rows
    teachers = tuple(_teacher(teacher, layout, store) for teacher in recipe.teachers)
    return Plan(
        recipe=recipe.name,
        rows=rows,
        rows_are_exact=exact,
        shards=layout.num_shards if layout else None,
        target_width=recipe.target_width,
        store_bytes=_sum(teacher.bytes for teacher in teachers),
        store_bytes_left=_sum(teacher.bytes_left for teacher in teachers),
        teachers=teachers,
        stages=tuple(
            _stage(run, number, stage, rows if stage.inputs == "texts" else pairs)
            for number, stage in enumerate(recipe.stages, start=1)
        ),
        pairs=pairs,
        captions=captions_plan(run),
    )


def _teacher(
    teacher: TeacherConfig, layout: ShardLayout | None, store: TeacherStore | None
) -> TeacherPlan:
    found = None
    if layout is not None:
        found = TeacherProgress.untouched(teacher.name, layout)
        if store is not None:
            found = teacher_progress(store, teacher.name)
    width = row_bytes(teacher, store)
    return TeacherPlan(
        name=teacher.name,
        dim=teacher.dim,
        weight=teacher.weight,
        tokens=layout.rows * teacher.max_tokens if layout else None,
        bytes=layout.rows * width if layout and width else None,
        license=teacher.license,
        shards_done=found.done if found else 0,
        shards_left=found.shards - found.done if found else None,
        bytes_left=found.rows_left * width if found and width else None,
        seconds_left=found.seconds_left if found and found.rows_left else None,
    )


def _sum(parts: Iterable[int | None]) -> int | None:
    known = list(parts)
    return None if None in known else sum(part for part in known if part is not None)


def _stage(run: Run, number: int, stage: StageConfig, rows: int | None) -> StagePlan:
    finished = run.students.finished(number)
    texts = stage.steps * stage.batch_size
    pooled = 0
    if stage.cache_pooled:
        drawn = max(stage.steps, fitting_steps(stage, stage.batch_size, rows)) * stage.batch_size
        pooled = min(drawn, rows) if rows else drawn
    hidden = run.students.start_width
    return StagePlan(
        number=number,
        name=stage.name,
        steps=stage.steps,
        texts=texts,
        inputs=stage.inputs,
        epochs=texts / rows if rows else None,
        trained=stage.trained,
        heads={head: tuple(names) for head, names in stage.heads.items()},
        steps_done=stage.steps if finished else run.students.last_checkpoint(number),
        finished=finished,
        pooled_rows=pooled,
        pooled_bytes=pooled * hidden * 4 if hidden else None,
    )
