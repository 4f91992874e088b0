"""Running the stages of a recipe: each begins from the final weights of the one before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.files import exclusive, read_json, write_json
from student.attention import use_attention
from student.batches import BatchStream, Tokenization
from student.cache_room import require_room
from student.compiled import compile_layers
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
from student.least_squares import collect, fit_heads
from student.lora import add_adapters, merge_adapters
from student.losses import require_matching_widths
from student.model import Student
from student.parts import train_only
from student.places import Places
from student.stage_rows import RowChoice, choose_rows, fitting_steps, stage_order
from student.trainer import DistillTrainer
from student.watch import MetricsFile, ProgressLine, WholeCheckpoints
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


def settle(training: TrainingConfig, recorded: TrainingConfig | None = None) -> TrainingConfig:
    """Replace every ``auto``: by what the stage was begun with, or by what is fastest here.

    Args:
        training: What the recipe says.
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
    return training.model_copy(update={"precision": precision, "attention": attention})


def run_stage(run: Distillation, number: int, report: Report) -> Path:
    """Train one stage, from its last checkpoint if it was interrupted.

    Args:
        run: The distillation.
        number: The stage, from 1.
        report: Takes each line for the user.

    Returns:
        The directory of the stage's final student.

    Raises:
        PipeError: The stage does not exist, the one before is not finished, the store lacks
            rows or was made by other teachers, a setting changed since the stage began, another
            process trains in the same run, or a loss is not finite.
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
    with exclusive(run.places.root, "is training in"):
        return _run_alone(run, number, corpus, store, report)


def _run_alone(
    run: Distillation, number: int, corpus: Corpus, store: TeacherStore, report: Report
) -> Path:
    stage, places = run.stages[number - 1], run.places
    title, final = f"stage {number} ({stage.name})", places.final(number)
    target_width = sum(teacher.dim for teacher in run.teachers)
    widths = {
        head: target_width if width == "target" else width
        for head, width in run.student.heads.items()
    }
    require_matching_widths(run.stages, widths, target_width)
    recorded = recorded_identity(places, number)
    training = settle(run.training, recorded.training if recorded else None)
    before = earlier_shards(places, number, recorded)

    def identity(shards: AvailableShards | None) -> StageIdentity:
        return _identity(run, number, training, store, shards, before)

    if recorded is not None:
        require_same(recorded, identity(recorded.shards), places)
    if places.finished(number):
        report(f"{title} is done: {final}")
        return final

    chosen = choose_rows(store, corpus, run.weights, run.rows, recorded)
    order = stage_order(stage, training, number, chosen.rows)
    student = _initial_student(run, number, report)
    used = {head for earlier in run.stages[:number] for head in earlier.heads}
    new = student.add_heads({h: w for h, w in widths.items() if h in used}, training.seed)
    if stage.lora:
        add_adapters(student, stage.lora, training.seed + number)
    trained = train_only(student, stage.trainable, stage.heads)
    use_attention(student.text, training.attention, or_plain=run.training.attention == "auto")
    if training.compile:
        compile_layers(student.text)
    places.remove_unfinished_checkpoints(number)
    step = places.last_checkpoint(number)
    if chosen.note:
        report(f"{title}: {chosen.note}")
    report(
        f"{title}: {trained:,} of {sum(p.numel() for p in student.parameters()):,} parameters "
        f"train, from {f'step {step}' if step else places.final(number - 1)}"
        f"{', new heads ' + ', '.join(new) if new else ''}"
    )

    def stream(steps: range) -> BatchStream:
        tokenization = Tokenization(
            student.tokenizer, student.prompts, student.max_tokens, training.group_tokens
        )
        return BatchStream(run.corpus, run.store, run.weights, order, steps, tokenization)

    if fitting_steps(stage) and new and not step:
        moments = collect(student.eval(), stream(range(fitting_steps(stage))))
        fit_heads(student, new, moments)
        report(f"{title}: {', '.join(new)} fitted in closed form to {moments.rows:,} rows")

    trainer = _trainer(stage, training, number, student, stream(range(step, stage.steps)), run)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(WholeCheckpoints(places, number))
    trainer.add_callback(MetricsFile(places.metrics(number), resumed_at=step))
    trainer.add_callback(ProgressLine(title, stage.batch_size, report))
    # Written last: what could be refused has been, so a mended recipe finds no wrong record.
    write_json(places.identity(number), identity(chosen.shards).model_dump(mode="json"))
    resume = str(places.checkpoint(number, step)) if step else None
    trainer.train(resume_from_checkpoint=resume)
    merge_adapters(student)
    student.save(final)
    report(f"{title} is done: {final}")
    return final


def _identity(
    run: Distillation,
    number: int,
    training: TrainingConfig,
    store: TeacherStore,
    shards: AvailableShards | None,
    before: tuple[AvailableShards | None, ...] | None,
) -> StageIdentity:
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
    )


def _trainer(
    stage: StageConfig,
    training: TrainingConfig,
    number: int,
    student: Student,
    batches: BatchStream,
    run: Distillation,
) -> DistillTrainer:
    schedules = {"constant": "constant_with_warmup"}
    set_seed(training.seed + number)
    arguments = TrainingArguments(
        output_dir=str(run.places.checkpoints(number)),
        per_device_train_batch_size=stage.batch_size,
        max_steps=stage.steps,
        learning_rate=stage.learning_rate,
        lr_scheduler_type=schedules.get(stage.schedule, stage.schedule),
        warmup_steps=round(stage.steps * stage.warmup_fraction),
        weight_decay=stage.weight_decay,
        max_grad_norm=stage.max_grad_norm,
        logging_steps=stage.log_every,
        save_steps=stage.save_every,
        save_total_limit=training.keep_checkpoints,
        logging_nan_inf_filter=False,
        bf16=training.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=training.seed + number,
        # The stream itself begins at the step to resume from.
        ignore_data_skip=True,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=["tensorboard"],
    )
    # One device a process: several visible GPUs would otherwise mean nn.DataParallel, which
    # splits the groups of a batch instead of the batch.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return DistillTrainer(
        student,
        arguments,
        batches=batches,
        readers=training.readers,
        stage=stage,
        losses=run.losses,
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
