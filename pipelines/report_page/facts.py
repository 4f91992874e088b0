"""What a report is written from: everything that was read from a run, as frozen objects."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from data_prep.manifest import CorpusManifest
from data_prep.overview import Part
from pipelines.environment import Environment
from pipelines.recipe import Recipe
from pipelines.report_page.measured import Measured
from pipelines.sessions import Session
from student.metrics import MetricLines
from student.selecting import Selected
from student.stage_config import StageConfig
from teacher_cache.progress import TeacherProgress

FactsT = TypeVar("FactsT")


@dataclass(frozen=True, slots=True)
class Found(Generic[FactsT]):
    """What a part of a run holds.

    Attributes:
        facts: It; None where there is nothing that can be read.
        notes: What is missing, damaged or out of date, a sentence each, with the command that
            mends it.
    """

    facts: FactsT | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table for people.

    Attributes:
        title: What it shows.
        header: A word per column; the first column names the rows.
        rows: Cells, as many in each row as the header has; empty ones have no value.
        note: What the reader must know to read it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """A corpus.

    Attributes:
        manifest: Its record.
        parts: Its numbers by source and role, where `pipe corpus` has counted them.
    """

    manifest: CorpusManifest
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class TeacherFacts:
    """A teacher, or the student that encodes the captions.

    Attributes:
        name: Its name.
        model: Where it comes from, without a directory of this machine.
        license: As the recipe states it.
        dim: Numbers in a vector.
        weight: Its share in the target; None for captions.
        storage: How its vectors are stored.
        progress: How far it is encoded; None while nobody can know.
        complete_bytes: Of all its rows, when they are complete; None while nobody can know.
    """

    name: str
    model: str
    license: str
    dim: int | None
    weight: float | None
    storage: str
    progress: TeacherProgress | None
    complete_bytes: int | None


@dataclass(frozen=True, slots=True)
class StageFacts:
    """A stage of the recipe.

    Attributes:
        number: From 1.
        settings: What it was begun with, or else its row of the recipe.
        step: The last step that is kept.
        finished: Whether its final weights are there.
        selected: Which step's weights it ended with; None for the last one's.
        metrics: What it logged.
    """

    number: int
    settings: StageConfig
    step: int
    finished: bool
    selected: Selected | None
    metrics: MetricLines

    @property
    def title(self) -> str:
        """Its number and name."""
        return f"stage {self.number} ({self.settings.name})"


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison of teachers, start and student.

    Attributes:
        title: On what.
        measured: What was measured.
        note: What the reader must know to read it.
    """

    title: str
    measured: Measured
    note: str = ""


@dataclass(frozen=True, slots=True)
class EvaluationFacts:
    """What was measured of the finished student.

    Attributes:
        comparisons: The user's own sets with held-out spans first, then benchmarks.
        tables: Everything as tables, in the order in which the page shows them.
        picture: What some captions found, as a data URL; empty without images.
    """

    comparisons: tuple[Compared, ...] = ()
    tables: tuple[Table, ...] = ()
    picture: str = ""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run.

    Attributes:
        recipe: The resolved recipe.
        recipe_text: The same as TOML.
        directory: The run's directory, as the command named it.
        standing: The lines of `pipe status`.
        corpus: The corpus.
        pairs: The captions of the image-caption pairs.
        teachers: The teachers and their share of the store.
        stages: The stages in order.
        evaluation: What was measured.
        sessions: Who worked where, and how long.
        environment: Where the report was written.
    """

    recipe: Recipe
    recipe_text: str
    directory: str
    standing: Found[tuple[str, ...]]
    corpus: Found[CorpusFacts]
    pairs: Found[CorpusFacts]
    teachers: Found[tuple[TeacherFacts, ...]]
    stages: Found[tuple[StageFacts, ...]]
    evaluation: Found[EvaluationFacts]
    sessions: Found[tuple[Session, ...]]
    environment: Environment

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything that is missing, damaged or out of date."""
        parts = (
            self.standing,
            self.corpus,
            self.pairs,
            self.teachers,
            self.stages,
            self.evaluation,
            self.sessions,
        )
        return tuple(dict.fromkeys(note for part in parts for note in part.notes))
