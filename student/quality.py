"""Measuring a stage and choosing its final weights: what ``student.stages`` needs to know of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from transformers import Trainer

from data_prep.corpus import Corpus
from data_prep.pairs.corpus import PairCorpus
from student.evaluating import Evaluations, Material, read_material
from student.evaluating_images import read_pair_material
from student.lora import save_plain
from student.model import Student
from student.places import Places
from student.selecting import Selection, SelectStep
from student.stage_config import StageConfig
from teacher_cache.store import TeacherStore


@dataclass(frozen=True)
class StageQuality:
    """What a stage is measured on while it trains, and which of its weights it ends with.

    Attributes:
        stage: The stage.
        student: The student itself, not what wraps it.
        material: What it is measured on; None if it is not measured.
        selection: Keeps the chosen weights.
    """

    stage: StageConfig
    student: Student
    material: Material | None
    selection: Selection

    @classmethod
    def prepare(
        cls,
        stage: StageConfig,
        number: int,
        places: Places,
        student: Student,
        corpus: Corpus,
        store: TeacherStore,
        weights: Mapping[str, float],
        sets: Path | None,
        step: int,
    ) -> Self:
        """Read what is measured on, and check what is kept already.

        Args:
            stage: The stage.
            number: Its number, from 1.
            places: Where the run's students lie.
            student: The student, with the stage's heads.
            corpus: The corpus.
            store: The store.
            weights: The teachers in the target, in order, and the weight of each.
            sets: The recipe's directory of evaluation sets, if it names one.
            step: The step that training continues from.

        Returns:
            What is to be attached to the stage's trainer.

        Raises:
            PipeError: There is nothing to measure on, a set or the metric does not exist, or
                weights that should have been kept by now are gone.
        """
        names = ["loss", *(f"{head}/{loss}" for head, used in stage.heads.items() for loss in used)]
        material: Material | None = None
        if stage.evaluate_every:
            if stage.inputs == "images":
                material = read_pair_material(stage, PairCorpus.open(corpus.directory), store)
            else:
                material = read_material(stage, corpus, store, weights, sets)
            widths = {name: layer.out_features for name, layer in student.named_heads()}
            names += material.metrics({head: widths[head] for head in stage.heads})
        selection = Selection(places, number, stage, partial(save_plain, student))
        selection.resume(step, names)
        return cls(stage, student, material, selection)

    def attach(self, trainer: Trainer) -> None:
        """Let a trainer measure and keep weights; after the callbacks that write metrics.

        Args:
            trainer: The stage's trainer.
        """
        if self.material is not None:
            log, select = trainer.log, self.selection.offer
            measure = self.material.measuring(self.student, tuple(self.stage.heads))
            trainer.add_callback(Evaluations(measure, self.stage, log, select))
        trainer.add_callback(SelectStep(self.selection))

    def finish(self, final: Path, report: Callable[[str], None]) -> None:
        """Write the stage's final student: the selected weights, or those of the last step.

        Args:
            final: Where it belongs.
            report: Takes each line for the user.

        Raises:
            PipeError: The weights that were kept are gone.
        """
        kept = self.selection.finish(final)
        if kept is None:
            save_plain(self.student, final)
        else:
            report(f"ends with the weights of {kept.as_text()}")
