"""Beginning a stage, or going on with it: everything that can be refused is refused here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.files import read_json, write_json
from student.batches import BatchStream, Tokenization
from student.cache_room import require_room
from student.checkpoint import load_weights
from student.config import LossConfig, StageConfig, StudentConfig, TrainingConfig
from student.identity import (
    AvailableShards,
    StageIdentity,
    TeacherShare,
    earlier_shards,
    recorded_identity,
    require_same,
    start_settings,
)
from student.losses import require_matching_widths, require_nested_widths
from student.model import Student
from student.order import TrainingOrder
from student.parts import train_only
from student.places import Places
from student.ranks import Ranks
from student.stage_rows import RowChoice, choose_rows, stage_order
from teacher_cache.config import TeacherConfig
from teacher_cache.open_store import RemoteStore, open_store
from teacher_cache.store import TeacherStore
from teacher_cache.taught import require_taught

Report = Callable[[str], None]


@dataclass(frozen=True)
class Distillation:
    """Everything that the stages of a run share.

    Attributes:
        corpus: The corpus directory.
        store: The store directory, or where the store lies and the cache for it.
        places: Where the start, the checkpoints and the final weights go.
        teachers: The teachers in the target, in order, with the recipe's settings.
        student: The recipe's student.
        losses: The recipe's loss weights.
        stages: The recipe's stages.
        training: How training runs.
        rows: Which rows a stage takes when it begins: ``all``, or those of the ``available``
            shards, which every teacher in the target has committed by then.
    """

    corpus: Path
    store: Path | RemoteStore
    places: Places
    teachers: Sequence[TeacherConfig]
    student: StudentConfig
    losses: LossConfig
    stages: Sequence[StageConfig]
    training: TrainingConfig
    rows: RowChoice = "all"

    @property
    def weights(self) -> dict[str, float]:
        """The teachers' names, in the order of the target's columns, and the weight of each."""
        return {teacher.name: teacher.weight for teacher in self.teachers}

    @property
    def target_width(self) -> int:
        """T: the widths of the teachers in the target together."""
        return sum(teacher.dim for teacher in self.teachers)

    @property
    def head_widths(self) -> dict[str, int]:
        """D: the width of every head of the recipe."""
        return {
            head: self.target_width if width == "target" else width
            for head, width in self.student.heads.items()
        }


@dataclass(frozen=True)
class BegunStage:
    """A stage that is ready to train.

    Attributes:
        run: The distillation.
        number: The stage's number, from 1.
        training: How training runs, with every ``auto`` settled.
        order: Which rows a step sees.
        student: With the weights of ``step``, and alone the stage's parts trainable.
        new_heads: The heads that the stage adds.
        step: The step to go on from; 0 for a stage that begins.
    """

    run: Distillation
    number: int
    training: TrainingConfig
    order: TrainingOrder
    student: Student
    new_heads: Sequence[str]
    step: int

    @property
    def settings(self) -> StageConfig:
        """The stage's row of the recipe."""
        return self.run.stages[self.number - 1]

    @property
    def title(self) -> str:
        """The stage, for people."""
        return f"stage {self.number} ({self.settings.name})"

    def stream(self, steps: range, ranks: Ranks) -> BatchStream:
        """The batches of some steps, or this process's part of them.

        Args:
            steps: Consecutive steps, from 0.
            ranks: The processes that train.
        """
        student, run = self.student, self.run
        tokenization = Tokenization(
            student.tokenizer, student.prompts, student.max_tokens, self.training.group_tokens
        )
        return BatchStream(
            run.corpus, run.store, run.weights, self.order, steps, tokenization, ranks
        )


def begin_stage(run: Distillation, number: int, report: Report, ranks: Ranks) -> BegunStage | None:
    """Check what a stage needs, record what it is trained under, and load its student.

    Where several processes train, the first one does so before the others, which then go by its
    record.

    Args:
        run: The distillation.
        number: The stage, from 1.
        report: Takes each line for the user.
        ranks: The processes that train.

    Returns:
        The stage; None if it is done.

    Raises:
        PipeError: The stage does not exist, the one before is not finished, the store lacks rows
            or was made by other teachers, or a setting changed since the stage began.
    """
    if not 1 <= number <= len(run.stages):
        raise PipeError(
            f"stage {number} is not in the recipe; it has stages 1 to {len(run.stages)}."
        )
    corpus = Corpus.open(run.corpus)
    store = open_store(run.store, corpus)
    require_taught(store, run.teachers)
    if isinstance(run.store, RemoteStore):
        blocks = run.training.order_block_rows, run.training.order_window_blocks
        require_room(store, list(run.weights), *blocks, run.store.limit)
    require_matching_widths(run.stages, run.head_widths, run.target_width)
    require_nested_widths(run.student.nested, run.head_widths)

    places, stage = run.places, run.stages[number - 1]
    recorded = recorded_identity(places, number)
    training = settle(run.training, ranks, recorded.training if recorded else None)
    before = earlier_shards(places, number, recorded)

    def identity(shards: AvailableShards | None) -> StageIdentity:
        return _identity(run, number, training, store, shards, before, ranks)

    if recorded is not None:
        require_same(recorded, identity(recorded.shards), places)
    if places.finished(number):
        return None

    chosen = choose_rows(store, corpus, run.weights, run.rows, recorded)
    ranked = _batch_of_all(stage, training, ranks)
    order = stage_order(ranked, training, number, chosen.rows)
    student = _initial_student(run, number, report)
    used = run.student.with_wholes(h for earlier in run.stages[:number] for h in earlier.heads)
    widths = {head: width for head, width in run.head_widths.items() if head in used}
    new = student.add_heads(widths, training.seed, run.student.nested)
    trained = train_only(student, stage.trainable, stage.heads)
    student.text.set_attn_implementation(training.attention)
    student.autocast = torch.bfloat16 if training.precision == "bf16" else None
    student.recompute = training.recompute == "groups"
    if ranks.first:
        places.remove_unfinished_checkpoints(number)
    step = places.last_checkpoint(number)
    if step:
        load_weights(student, places.checkpoint(number, step))
    if chosen.note:
        report(f"stage {number} ({stage.name}): {chosen.note}")
    together = f" in {ranks.count} processes ({training.sharding})" if ranks.count > 1 else ""
    report(
        f"stage {number} ({stage.name}): {trained:,} of "
        f"{sum(p.numel() for p in student.parameters()):,} parameters train{together}, "
        f"from {f'step {step}' if step else places.final(number - 1)}"
        f"{', new heads ' + ', '.join(new) if new else ''}"
    )
    if ranks.first:
        # Written last: what could be refused has been, so a mended recipe finds no wrong record.
        write_json(places.identity(number), identity(chosen.shards).model_dump(mode="json"))
    return BegunStage(run, number, training, order, student, new, step)


def settle(
    training: TrainingConfig, ranks: Ranks, recorded: TrainingConfig | None = None
) -> TrainingConfig:
    """Replace every ``auto``: by what the stage was begun with, or by what is fastest here.

    Args:
        training: What the recipe says.
        ranks: The processes that train.
        recorded: What the stage was begun with, if it was.

    Returns:
        Settings without ``auto``.
    """
    precision, attention = training.precision, training.attention
    if recorded is not None:
        precision = recorded.precision if precision == "auto" else precision
        attention = recorded.attention if attention == "auto" else attention
    on_gpu = torch.cuda.is_available()
    if precision == "auto":
        if on_gpu:
            fast = torch.cuda.is_bf16_supported()
        else:
            # Older releases of torch cannot tell; float32 is right everywhere.
            capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
            fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
        precision = "bf16" if fast else "fp32"
    if attention == "auto":
        # On a CPU the backward pass of the fused kernel takes more than twice the plain one's.
        attention = "sdpa" if on_gpu else "eager"
    sharding = training.sharding
    if sharding == "auto":
        sharding = "zero2" if ranks.count > 1 else "none"
    return training.model_copy(
        update={"precision": precision, "attention": attention, "sharding": sharding}
    )


def _batch_of_all(stage: StageConfig, training: TrainingConfig, ranks: Ranks) -> StageConfig:
    """The stage with the size of the whole batch.

    Raises:
        PipeError: A process would have no text, or the losses of a rank nothing to compare.
    """
    if training.batch_scope == "rank":
        return stage.model_copy(update={"batch_size": stage.batch_size * ranks.count})
    if stage.batch_size < ranks.count:
        raise PipeError(
            f"stage {stage.name} has a batch of {stage.batch_size} texts for {ranks.count} "
            "processes, expected at least one for each; raise batch_size or start fewer."
        )
    return stage


def _identity(
    run: Distillation,
    number: int,
    training: TrainingConfig,
    store: TeacherStore,
    shards: AvailableShards | None,
    before: tuple[AvailableShards | None, ...] | None,
    ranks: Ranks,
) -> StageIdentity:
    by_rank = "rank" in {training.batch_scope, run.losses.scope}
    return StageIdentity(
        student=run.student,
        losses=run.losses,
        stages=tuple(run.stages[:number]),
        training=training,
        teachers=tuple(
            TeacherShare(name=name, weight=weight, fingerprint=store.teachers[name].fingerprint)
            for name, weight in run.weights.items()
        ),
        corpus=store.corpus_fingerprint,
        shards=shards,
        earlier_shards=before,
        ranks=ranks.count if by_rank else None,
    )


def _initial_student(run: Distillation, number: int, report: Report) -> Student:
    places = run.places
    if number == 1:
        _keep_start(run, report)
    elif not places.finished(number - 1):
        raise PipeError(
            f"stage {number} begins from the final weights of stage {number - 1}, which are "
            f"not in {places.final(number - 1)}; run "
            f"`pipe distill --stage {number - 1}` first."
        )
    return Student.load(places.final(number - 1)).train()


def _keep_start(run: Distillation, report: Report) -> None:
    """Keep the start in the run, so that training and evaluating elsewhere need no other model."""
    places, settings = run.places, start_settings(run.student)
    known = places.start_settings.exists() and read_json(places.start_settings) == settings
    if not (known and places.finished(0)):
        # Stage 1 was not begun from another start: its identity would have been refused.
        Student.from_start(run.student).save(places.final(0))
        write_json(places.start_settings, settings)
        report(f"the student's start is kept in {places.final(0)}")
