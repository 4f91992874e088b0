"""Measuring a student while it trains, without disturbing the training."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from student.evaluation.heldout import held_out_agreement
from student.evaluation.mteb_library import check_mteb
from student.evaluation.mteb_model import MtebModel
from student.evaluation.sets import EvaluationSet, SetFiles, find_sets, read_set
from student.evaluation.tasks import LocalTask, NoScoreError
from student.held_out import LEAST_SPANS, HeldOutSpans, measured_spans, read_held_out_spans
from student.model import Student
from student.pooled_once import PooledOnce
from student.stage_config import StageConfig
from teacher_cache.store import TeacherStore

Measure = Callable[[], dict[str, float]]
"""Measures a student as it is now."""


class Material(Protocol):
    """What a stage is measured on."""

    def measuring(self, student: Student, heads: Sequence[str]) -> Measure:
        """Prepare to measure some heads again and again while the student trains.

        Args:
            student: The student itself, not what wraps it.
            heads: The heads.

        Returns:
            Gives the figures that ``metrics`` names. Weights, mode and random generators stay as
            they are.
        """

    def metrics(self, widths: Mapping[str, int]) -> list[str]:
        """Name the figures.

        Args:
            widths: Width of each head that is measured.
        """


@dataclass(frozen=True)
class EvaluationMaterial(HeldOutSpans):
    """What a stage on texts is measured on; no spans where the corpus holds out too few.

    Attributes:
        sets: Evaluation sets by ``KIND/NAME``.
    """

    sets: Mapping[str, EvaluationSet]

    @cached_property
    def tasks(self) -> Mapping[str, LocalTask]:
        """The task of each set, made once."""
        return {name: LocalTask(data) for name, data in self.sets.items()}

    def measuring(self, student: Student, heads: Sequence[str]) -> Measure:
        """As ``Material``."""
        frozen = not any(parameter.requires_grad for parameter in student.text.parameters())
        spans = PooledOnce(student) if frozen else None
        return lambda: evaluate_student(student, self, heads, spans)

    def metrics(self, widths: Mapping[str, int]) -> list[str]:
        """As ``Material``.

        Args:
            widths: Width of each head that is measured.
        """
        names = []
        for head, width in widths.items():
            if self.texts:
                aligned = width == self.target_NT.shape[1]
                measures = [*(["cosine"] if aligned else []), "spearman", "kendall"]
                names += [f"eval/{head}/{measure}" for measure in measures]
            names += [f"eval/{name}/{head}" for name in self.sets]
        return names


def read_material(
    stage: StageConfig,
    corpus: Corpus,
    store: TeacherStore,
    weights: Mapping[str, float],
    sets: Path | None,
) -> EvaluationMaterial:
    """Read what a stage is measured on.

    Args:
        stage: The stage.
        corpus: The corpus.
        store: The store.
        weights: The teachers in the target, in order, and the weight of each.
        sets: The recipe's directory of evaluation sets, if it names one.

    Returns:
        The held-out spans and the sets.

    Raises:
        PipeError: There is nothing to measure on, a set that the stage names is not there, or the
            store lacks held-out rows.
    """
    chosen = {_key(files): read_set(files) for files in _chosen(stage, sets)}
    count = measured_spans(corpus, stage.evaluate_spans)
    if not count:
        if not chosen:
            raise PipeError(
                f"stage {stage.name} has evaluate_every = {stage.evaluate_every}, and the corpus "
                f"holds out {corpus.held_out_rows} rows, expected at least {LEAST_SPANS}; name "
                "evaluate_sets, or set evaluate_every to 0."
            )
        return EvaluationMaterial([], [], np.empty((0, 0), np.float32), chosen)
    spans = read_held_out_spans(corpus, store, weights, count)
    return EvaluationMaterial(spans.texts, spans.roles, spans.target_NT, chosen)


def _chosen(stage: StageConfig, sets: Path | None) -> list[SetFiles]:
    if not stage.evaluate_sets:
        return []
    check_mteb()
    if sets is None:
        raise PipeError(
            f"stage {stage.name} is measured on {', '.join(stage.evaluate_sets)}, and the recipe "
            "names no directory of evaluation sets; set evaluation.sets."
        )
    found = {files.name: files for files in find_sets(sets)}
    for name in stage.evaluate_sets:
        if name not in found:
            raise PipeError(
                f"stage {stage.name} is measured on the set {name!r}, which is not below {sets}; "
                f"expected one of {', '.join(found)}."
            )
    return [found[name] for name in stage.evaluate_sets]


def _key(files: SetFiles) -> str:
    return f"{files.kind}/{files.name.removeprefix(f'{files.kind}/')}"


def evaluate_student(
    student: Student,
    material: EvaluationMaterial,
    heads: Sequence[str],
    spans: PooledOnce | None = None,
) -> dict[str, float]:
    """Measure some heads of a student; weights, mode and random generators stay as they are.

    Args:
        student: The student, as it is being trained.
        material: What it is measured on.
        heads: The heads.
        spans: Where the held-out spans' pooled states may be known from an earlier time, because
            the backbone is frozen.

    Returns:
        ``eval/HEAD/spearman``, ``eval/HEAD/kendall`` and, for a head as wide as the target,
        ``eval/HEAD/cosine`` on the held-out spans; ``eval/KIND/SET/HEAD``, 0 to 100, on each set,
        NaN where a head has no score.
    """
    measured: dict[str, float] = {}
    if material.texts:
        spans = spans or PooledOnce(student)
        vectors = {head: spans.head(head)(material.texts, material.roles) for head in heads}
        agreement = held_out_agreement(material.target_NT, vectors)
        for found in agreement.heads:
            if found.cosine is not None:
                measured[f"eval/{found.head}/cosine"] = found.cosine
            measured[f"eval/{found.head}/spearman"] = found.spearman
            measured[f"eval/{found.head}/kendall"] = found.kendall
    pooled = PooledOnce(student)
    for name, task in material.tasks.items():
        pooled.forget()
        for head in heads:
            model = MtebModel(
                pooled.head(head),
                head,
                prompts=student.prompts,
                prompted=partial(pooled.head, head),
            )
            try:
                measured[f"eval/{name}/{head}"] = task.measure(model).score
            except NoScoreError:
                measured[f"eval/{name}/{head}"] = math.nan
    return measured


class Evaluations(TrainerCallback):
    """Measures the student every so many steps; for the first rank, while the others wait."""

    def __init__(
        self,
        measure: Measure,
        stage: StageConfig,
        log: Callable[[dict[str, float]], None],
        select: Callable[[int, Mapping[str, float]], bool] | None = None,
    ) -> None:
        """Say what is measured, and who hears of it.

        Args:
            measure: Measures the student.
            stage: How often.
            log: Takes the figures: ``Trainer.log``.
            select: Takes a step and all figures of it, the step's own line of metrics included.
        """
        self.measure = measure
        self.stage = stage
        self.log = log
        self.select = select

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Measure behind a line of metrics, whose own figures are complete by then."""
        step = state.global_step
        if not logs or "loss" not in logs or step % self.stage.evaluate_every:
            return
        own = dict(logs)
        measured = self.measure()
        self.log(dict(measured))
        if self.select is not None:
            self.select(step, own | measured)


def evaluation_line(logs: Mapping[str, float]) -> str:
    """Figures of ``evaluate_student`` for people.

    Args:
        logs: A line of metrics.

    Returns:
        For example ``"fc1/spearman 0.8123  fc1/cosine 0.9"``; empty if there are none.
    """
    return "  ".join(
        f"{key.removeprefix('eval/')} {value:.4g}"
        for key, value in logs.items()
        if key.startswith("eval/") and not key.endswith("/kendall")
    )
