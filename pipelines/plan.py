"""What a run would do and what it costs, from arithmetic alone."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_prep.corpus import Corpus
from pipelines.recipe import Recipe
from pipelines.report import size
from pipelines.run import Run
from teacher_cache.layout import ShardLayout

_CHARACTERS_PER_TOKEN = 4  # English prose under the usual subword vocabularies
_BYTES_PER_NUMBER = 2  # float16


@dataclass(frozen=True)
class TeacherPlan:
    """One teacher's share of the work.

    Attributes:
        name: The teacher.
        dim: Numbers in a vector.
        tokens: Tokens to encode, at most; None while the number of rows is unknown.
        bytes: Bytes of its vectors; None while the number of rows is unknown.
        license: Its licence.
    """

    name: str
    dim: int
    tokens: int | None
    bytes: int | None
    license: str


@dataclass(frozen=True)
class StagePlan:
    """One stage's share of the work.

    Attributes:
        number: From 1.
        name: The stage's name.
        steps: Optimizer steps.
        texts: Texts drawn, repetitions counted.
        epochs: Passes over the corpus; None while the number of rows is unknown.
        trainable: What trains.
        heads: Losses by head.
    """

    number: int
    name: str
    steps: int
    texts: int
    epochs: float | None
    trainable: tuple[str, ...]
    heads: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Plan:
    """A run's work.

    Attributes:
        recipe: The recipe's name.
        rows: Rows of the corpus; None if the recipe leaves it to the sources.
        rows_are_exact: Whether the corpus stands already.
        shards: Shards of each teacher.
        target_width: T.
        store_bytes: Bytes of the store.
        teachers: Each teacher's share.
        stages: Each stage's share.
    """

    recipe: str
    rows: int | None
    rows_are_exact: bool
    shards: int | None
    target_width: int
    store_bytes: int | None
    teachers: tuple[TeacherPlan, ...]
    stages: tuple[StagePlan, ...]

    def as_dict(self) -> dict[str, Any]:
        """The plan for programs."""
        return asdict(self)

    def as_text(self) -> str:
        """The plan for people."""
        known = f"{self.rows:,}" if self.rows else "as many as the sources give"
        lines = [
            f"recipe   {self.recipe}",
            f"corpus   {known} rows{'' if self.rows_are_exact or not self.rows else ' wanted'}"
            + (f" in {self.shards:,} shards" if self.shards else ""),
            f"target   {self.target_width} numbers a row"
            + (f", {size(self.store_bytes)} of store" if self.store_bytes else ""),
        ]
        for teacher in self.teachers:
            cost = (
                f", at most {teacher.tokens:,} tokens to encode, {size(teacher.bytes)}"
                if teacher.tokens is not None and teacher.bytes is not None
                else ""
            )
            lines.append(
                f"teacher  {teacher.name}: {teacher.dim}-d{cost}, licence {teacher.license}"
            )
        for stage in self.stages:
            epochs = f" ({stage.epochs:.2f} epochs)" if stage.epochs is not None else ""
            losses = "; ".join(f"{head}: {', '.join(names)}" for head, names in stage.heads.items())
            lines.append(
                f"stage {stage.number}  {stage.name}: {stage.steps:,} steps, "
                f"{stage.texts:,} texts{epochs}\n"
                f"         trains {', '.join(stage.trainable)}\n         losses {losses}"
            )
        return "\n".join(lines)


def plan(run: Run) -> Plan:
    """Work out what a run would do; nothing is loaded, downloaded or written.

    Args:
        run: The run, which need not exist yet.

    Returns:
        Rows, tokens, bytes and steps; exact once the corpus stands.

    Raises:
        PipeError: The corpus is there but broken.
    """
    recipe = run.recipe
    rows, characters = _corpus_size(recipe, run.corpus)
    exact = (run.corpus / "manifest.json").exists()
    shards = ShardLayout(rows, recipe.corpus.rows_per_shard).num_shards if rows else None

    def tokens(limit: int) -> int | None:
        if rows is None:
            return None
        bound = rows * limit
        return min(bound, characters // _CHARACTERS_PER_TOKEN) if characters else bound

    teachers = tuple(
        TeacherPlan(
            name=teacher.name,
            dim=teacher.dim,
            tokens=tokens(teacher.max_tokens),
            bytes=rows * teacher.dim * _BYTES_PER_NUMBER if rows else None,
            license=teacher.license,
        )
        for teacher in recipe.teachers
    )
    stages = tuple(
        StagePlan(
            number=number,
            name=stage.name,
            steps=stage.steps,
            texts=stage.steps * stage.batch_size,
            epochs=stage.steps * stage.batch_size / rows if rows else None,
            trainable=stage.trainable,
            heads={head: tuple(names) for head, names in stage.heads.items()},
        )
        for number, stage in enumerate(recipe.stages, start=1)
    )
    return Plan(
        recipe=recipe.name,
        rows=rows,
        rows_are_exact=exact,
        shards=shards,
        target_width=recipe.target_width,
        store_bytes=rows * recipe.target_width * _BYTES_PER_NUMBER if rows else None,
        teachers=teachers,
        stages=stages,
    )


def _corpus_size(recipe: Recipe, corpus: Path) -> tuple[int | None, int | None]:
    """Rows and characters: the corpus's own once it stands, else what the recipe asks for."""
    if (corpus / "manifest.json").exists():
        manifest = Corpus.open(corpus).manifest
        return manifest.rows, None
    return recipe.corpus.texts, None
