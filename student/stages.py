"""Running the stages of a recipe: each begins from the final weights of the one before."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from data_prep.config import Settings
from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.files import read_json, write_json
from data_prep.fingerprint import explain_change
from student.batches import BatchStream, Tokenization
from student.config import LossConfig, StageConfig, StudentConfig, TrainingConfig
from student.losses import require_matching_widths
from student.model import Student
from student.order import TrainingOrder
from student.parts import train_only
from student.places import Places
from student.trainer import DistillTrainer
from student.watch import (
    MetricsFile,
    ProgressLine,
    WholeCheckpoints,
)
from teacher_cache.store import TeacherStore

Report = Callable[[str], None]


@dataclass(frozen=True)
class Distillation:
    """Everything that the stages of a run share.

    Attributes:
        corpus: The corpus directory.
        store: The store directory.
        places: Where the start, the checkpoints and the final weights go.
        teachers: The teachers in the target, in order, and the weight of each.
        student: The recipe's student.
        losses: The recipe's loss weights.
        stages: The recipe's stages.
        training: How training runs on this machine, without ``auto``.
    """

    corpus: Path
    store: Path
    places: Places
    teachers: dict[str, float]
    student: StudentConfig
    losses: LossConfig
    stages: Sequence[StageConfig]
    training: TrainingConfig


def settle(training: TrainingConfig) -> TrainingConfig:
    """Replace every ``auto`` by what is fastest on this machine.

    Args:
        training: What the recipe says.

    Returns:
        Settings without ``auto``: they stand so in what a stage was begun with.
    """
    precision, attention = training.precision, training.attention
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


def identity(run: Distillation, number: int, store: TeacherStore) -> dict[str, Any]:
    """Everything that decides a stage's weights.

    Args:
        run: The distillation.
        number: The stage, from 1.
        store: The opened store.

    Returns:
        JSON-like settings; a checkpoint made under others is refused.
    """

    def dump(settings: Settings) -> Any:
        return settings.model_dump(mode="json")

    return {
        "student": dump(run.student),
        "losses": dump(run.losses),
        "stages": [dump(stage) for stage in run.stages[:number]],
        "training": run.training.model_dump(mode="json", exclude={"readers", "keep_checkpoints"}),
        "teachers": {
            name: {"weight": weight, "fingerprint": store.teachers[name].fingerprint}
            for name, weight in run.teachers.items()
        },
        "corpus": store.corpus_fingerprint,
    }


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
            rows, a setting changed since the stage began, or a loss is not finite.
    """
    if not 1 <= number <= len(run.stages):
        raise PipeError(
            f"stage {number} is not in the recipe; it has stages 1 to {len(run.stages)}."
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise PipeError(
            f"found a launch of {os.environ['WORLD_SIZE']} processes; this version trains in one. "
            "Start `pipe distill` without torchrun or deepspeed."
        )
    stage = run.stages[number - 1]
    title = f"stage {number} ({stage.name})"
    corpus = Corpus.open(run.corpus)
    store = TeacherStore.open(run.store, corpus)
    _require_rows(store, run.teachers)
    target_width = sum(store.teachers[name].config.dim for name in run.teachers)
    widths = {
        head: target_width if width == "target" else width
        for head, width in run.student.heads.items()
    }
    require_matching_widths(run.stages, widths, target_width)

    places = run.places
    final = places.final(number)
    _require_same_identity(places.identity(number), identity(run, number, store), title)
    if places.finished(number):
        report(f"{title} is done: {final}")
        return final
    student = _initial_student(run, number, report)
    wanted = [head for earlier in run.stages[:number] for head in earlier.heads]
    new = student.add_heads(
        {head: width for head, width in widths.items() if head in wanted}, run.training.seed
    )
    trained = train_only(student, stage.trainable)
    student.text.set_attn_implementation(run.training.attention)
    places.remove_unfinished_checkpoints(number)
    step = places.last_checkpoint(number)
    report(
        f"{title}: {trained:,} of {sum(p.numel() for p in student.parameters()):,} parameters "
        f"train, from {'step ' + str(step) if step else places.final(number - 1)}"
        f"{', new heads ' + ', '.join(new) if new else ''}"
    )
    order = TrainingOrder(
        first_row=corpus.held_out_rows,
        end_row=corpus.rows,
        batch_size=stage.batch_size,
        seed=(run.training.seed, number),
        block_rows=run.training.order_block_rows,
        window_blocks=run.training.order_window_blocks,
    )
    batches = BatchStream(
        run.corpus,
        run.store,
        run.teachers,
        order,
        range(step, stage.steps),
        Tokenization(
            student.tokenizer, student.prompts, student.max_tokens, run.training.group_tokens
        ),
    )
    trainer = _trainer(run, number, student, batches)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(WholeCheckpoints(places, number))
    trainer.add_callback(MetricsFile(places.metrics(number), resumed_at=step))
    trainer.add_callback(ProgressLine(title, stage.batch_size, report))
    resume = str(places.checkpoint(number, step)) if step else None
    trainer.train(resume_from_checkpoint=resume)
    student.save(final)
    report(f"{title} is done: {final}")
    return final


def _trainer(
    run: Distillation, number: int, student: Student, batches: BatchStream
) -> DistillTrainer:
    stage = run.stages[number - 1]
    schedules = {"constant": "constant_with_warmup"}
    set_seed(run.training.seed + number)
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
        save_total_limit=run.training.keep_checkpoints,
        logging_nan_inf_filter=False,
        bf16=run.training.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=run.training.seed + number,
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
        readers=run.training.readers,
        stage=stage,
        losses=run.losses,
    )


def _initial_student(run: Distillation, number: int, report: Report) -> Student:
    if number > 1:
        if not run.places.finished(number - 1):
            raise PipeError(
                f"stage {number} begins from the final weights of stage {number - 1}, which are "
                f"not in {run.places.final(number - 1)}; run "
                f"`pipe distill --stage {number - 1}` first."
            )
    elif not run.places.finished(0):
        # Kept in the run, so that evaluating later and elsewhere needs no other model.
        Student.from_start(run.student).save(run.places.final(0))
        report(f"the student's start is kept in {run.places.final(0)}")
    return Student.load(run.places.final(number - 1)).train()


def _require_rows(store: TeacherStore, teachers: dict[str, float]) -> None:
    for name in teachers:
        if name not in store.teachers:
            raise PipeError(
                f"the store has no teacher {name!r}; it has {', '.join(store.teachers) or 'none'}. "
                f"Run `pipe teach --teacher {name}` first."
            )
        missing = store.missing(name)
        if missing:
            raise PipeError(
                f"the store lacks {len(missing)} shards of teacher {name} (the first is shard "
                f"{missing[0]}); run `pipe teach --teacher {name}` to the end first."
            )


def _require_same_identity(path: Path, wanted: dict[str, Any], title: str) -> None:
    if path.exists():
        change = explain_change(read_json(path), wanted)
        if change:
            raise PipeError(
                f"{title} was begun with other settings: {change}. Set them back, use another "
                f"--run, or remove {path.parent} and the stages after it to train anew."
            )
    else:
        write_json(path, wanted)
