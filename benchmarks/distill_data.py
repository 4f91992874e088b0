"""What a training benchmark trains on: a corpus, a store, and a stage of the laptop recipe."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.teach import mixed_texts
from data_prep.corpus import Corpus
from data_prep.prepare import prepare
from pipelines.quiet import quiet_libraries
from pipelines.recipe import Recipe
from pipelines.report import say
from pipelines.run import Run
from pipelines.teach import teach
from student.begin import BegunStage, begin_stage
from student.distillation import Distillation, StageData
from student.places import Places
from student.ranks import ALONE
from student.stage_config import StageConfig
from teacher_cache.open_store import open_store

# Vectors of the recipe's widths from hashes of words: the speed of training does not know them.
_TEACHERS = (
    'teachers=[{name="dummy", dim=384, max_tokens=128, weight=3.0}, '
    '{name="second", kind="dummy", model="second", dim=256, max_tokens=128}]'
)


def prepare_run(
    work: Path, texts: int, overrides: Sequence[str], *, generated: bool = False
) -> Run:
    """Make a corpus and a store with the project's own commands.

    Args:
        work: Where they go.
        texts: Rows.
        overrides: What differs from the recipe ``laptop``.
        generated: Whether the texts are generated in any case.

    Returns:
        The run; the texts are those of ``$JASPER_SHARED/data/corpus`` where it is there, four
        passages to a question, else generated.
    """
    quiet_libraries()
    corpus = Path(os.environ.get("JASPER_SHARED", "")) / "data" / "corpus"
    if "JASPER_SHARED" in os.environ and corpus.is_dir() and not generated:
        sources = (
            f'{{name="passages", path="{corpus}/passages.parquet", weight=0.8}}, '
            f'{{name="questions", path="{corpus}/questions.parquet", role="question", weight=0.2}}'
        )
    else:
        file = work / "texts.jsonl"
        file.write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in mixed_texts(2 * texts, None))
        )
        sources = f'{{name="generated", path="{file}"}}'
    changes = [f"corpus.sources=[{sources}]", f"corpus.texts={texts}", _TEACHERS, *overrides]
    run = Run.open(work / "run", "laptop", changes)
    run.begin()
    prepare(run.recipe.corpus, run.corpus, say)
    teach(run, run.recipe.teachers)
    return run


def begin(run: Run, work: Path, name: str, stage: StageConfig) -> BegunStage:
    """Begin a stage from the student's start, as if no other came before it.

    Args:
        run: Corpus, store and recipe.
        work: Gets a directory for the stage.
        name: The directory's.
        stage: The stage.

    Returns:
        The stage, ready to train.
    """
    recipe: Recipe = run.recipe
    distillation = Distillation(
        texts=StageData(run.corpus, run.store, recipe.target_teachers),
        places=Places(work / name),
        student=recipe.student,
        losses=recipe.losses,
        stages=[stage],
        training=recipe.training,
    )
    begun = begin_stage(distillation, 1, say, ALONE)
    assert begun is not None, "the directory is new"
    return begun


@dataclass(frozen=True)
class InMemory:
    """The batches of a stage's first steps as a plain script has them: all in memory.

    Attributes:
        texts: Of all batches, in the order of the steps.
        target_NT: Their unit vectors, float32.
        size: Texts in a batch.
    """

    texts: list[str]
    target_NT: npt.NDArray[np.float32]
    size: int

    @classmethod
    def read(cls, stage: BegunStage, steps: int) -> "InMemory":
        """Read the batches of some steps."""
        read = stage.run.texts
        corpus = Corpus.open(read.corpus)
        store = open_store(read.store, corpus)
        rows = np.concatenate(list(stage.order.batches(0, steps)))
        weights = read.weights
        target_NT = store.read(rows, list(weights), list(weights.values()))
        return cls(corpus.take(rows)[0], target_NT, stage.order.batch_size)
