"""Running the stages of a recipe: each begins from the final weights of the one before."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from data_prep.draws import draw
from data_prep.files import exclusive
from student.begin import BegunStage, begin_stage
from student.checkpoint import Checkpoints, ResumeFrom
from student.distillation import Distillation, Report
from student.least_squares import aligned_heads, collect, fit_heads
from student.pooled_cache import PooledCache
from student.pooled_source import PooledSource
from student.ranks import ALONE, Ranks
from student.stage_rows import fitting_steps
from student.trainer import DistillTrainer, require_finite_weights
from student.wandb_log import WandbLog, require_wandb
from student.watch import MetricsFile, ProgressLine
from student.zero import require_deepspeed, zero2_config

# The library's names of our schedules, where they differ.
_SCHEDULES = {"constant": "constant_with_warmup"}


def run_stage(run: Distillation, number: int, report: Report, ranks: Ranks = ALONE) -> Path:
    """Train one stage, from its last checkpoint if it was interrupted.

    Args:
        run: The distillation.
        number: The stage, from 1.
        report: Takes each line for the user.
        ranks: The processes that train together; all call this.

    Returns:
        The directory of the stage's final student.

    Raises:
        PipeError: The stage does not exist, the one before is not finished, the store lacks
            rows or was made by other teachers, a setting changed since the stage began, another
            process trains in the same run, a loss is not finite, or Weights & Biases is asked for
            and not there.
    """
    if run.logging.wandb:
        require_wandb()
    report, places = ranks.only_first(report), run.places
    with exclusive(places.root, "is training in") if ranks.first else nullcontext():
        stage = begin_stage(run, number, report, ranks) if ranks.first else None
        step = ranks.tell(stage.step if stage is not None else None)
        if not ranks.first and step is not None:
            stage = begin_stage(run, number, report, ranks, step)
        if stage is not None:
            _train(stage, report, ranks)
        ranks.wait()
    report(f"{run.title(number)} is done: {places.final(number)}")
    return places.final(number)


def _train(stage: BegunStage, report: Report, ranks: Ranks) -> None:
    trainer = prepare_trainer(stage, report, ranks)
    trainer.train()
    trainer.release()
    require_finite_weights(stage.student, stage.title)
    if stage.quality is not None:
        places = stage.run.places
        stage.quality.finish(places.final(stage.number), stage.titled(report))
        places.clear_scratch(stage.number)


def prepare_trainer(stage: BegunStage, report: Report, ranks: Ranks = ALONE) -> DistillTrainer:
    """Fit a stage's new heads, if they begin fitted, and put its trainer together.

    Args:
        stage: The stage.
        report: Takes each line for the user.
        ranks: The processes that train together; all call this.

    Returns:
        A trainer that has everything but its steps behind it.

    Raises:
        PipeError: The closed form has no row to fit to, or a text or a vector is not the corpus's.
    """
    say = stage.titled(report)
    settings, student = stage.settings, stage.student
    number, places = stage.number, stage.run.places
    source = _pooled_source(stage, say, ranks)
    unfitted = [head for head in stage.new_heads if head not in student.nested]
    fitting = fitting_steps(settings, stage.order.batch_size, len(stage.order.rows))
    if fitting and not unfitted:
        say("init = 'least_squares' has no new head to fit")
    elif fitting and not stage.step:
        batches = stage.stream(range(fitting), ranks, source)
        moments = collect(student.eval(), batches, ranks)
        fit_heads(student, unfitted, moments, aligned=aligned_heads(settings))
        say(f"{', '.join(unfitted)} fitted in closed form to {moments.rows:,} rows")
    trainer = _trainer(stage, source, ranks)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    # In this order: who counts steps begins at the right one, and what a step is to leave behind
    # stands before the checkpoint that a resumed stage takes.
    if stage.step:
        trainer.add_callback(ResumeFrom(places.checkpoint(number, stage.step), stage.step))
    if ranks.first:
        trainer.add_callback(MetricsFile(places.metrics(number), resumed_at=stage.step))
        batch = stage.order.batch_size
        trainer.add_callback(ProgressLine(stage.title, batch, report, settings.inputs))
        for callback in _logs(stage, say):
            trainer.add_callback(callback)
    if stage.quality is not None:
        stage.quality.attach(trainer)
    trainer.add_callback(Checkpoints(places, number, ranks, stage.training.keep_checkpoints))
    return trainer


def _logs(stage: BegunStage, say: Report) -> Iterator[TrainerCallback]:
    """Where the first process sends metrics besides the metrics file."""
    places, number, logging = stage.run.places, stage.number, stage.run.logging
    # Imported only where something is written. What an interrupted process has logged behind its
    # last checkpoint is not shown.
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

    directory = str(places.tensorboard(number))
    yield TensorBoardCallback(SummaryWriter(log_dir=directory, purge_step=stage.step + 1))
    if logging.wandb:
        config = {
            "stage": number,
            "settings": stage.settings.model_dump(mode="json"),
            "losses": stage.run.losses.model_dump(mode="json"),
            "training": stage.training.model_dump(mode="json"),
        }
        yield WandbLog(
            project=logging.wandb,
            name=stage.title,
            group=logging.group,
            identity=places.wandb(number),
            config=config,
            report=say,
        )


def _pooled_source(stage: BegunStage, report: Report, ranks: Ranks) -> PooledSource | None:
    """What gives the rows' pooled states, with all of them there; None computes them by step."""
    if not isinstance(stage.pooled, PooledCache):
        return stage.pooled
    precision = stage.training.precision
    stage.pooled.fill(stage.student, precision, report, ranks.number, ranks.count)
    ranks.wait()
    return stage.pooled.files


def _trainer(stage: BegunStage, source: PooledSource | None, ranks: Ranks) -> DistillTrainer:
    settings, training = stage.settings, stage.training
    on_gpu = torch.cuda.is_available()
    sharded = training.sharding == "zero2"
    if sharded:
        require_deepspeed()
    arguments = TrainingArguments(
        output_dir=str(stage.run.places.checkpoints(stage.number)),
        per_device_train_batch_size=-(-stage.order.batch_size // ranks.count),
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=_SCHEDULES.get(settings.schedule, settings.schedule),
        warmup_steps=round(settings.steps * settings.warmup_fraction),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        logging_steps=settings.log_every,
        save_strategy="no",  # checkpoints are our own
        save_steps=settings.save_every,
        logging_nan_inf_filter=False,
        use_cpu=not on_gpu,
        ddp_backend=dist.get_backend() if ranks.count > 1 else None,
        ddp_find_unused_parameters=False,
        deepspeed=zero2_config() if sharded else None,
        seed=draw(training.seed, "stage", stage.number) % 2**32,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
    )
    # One device a process: several visible GPUs would otherwise mean nn.DataParallel, which
    # splits the groups of a batch instead of the batch.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return DistillTrainer(
        stage.student,
        arguments,
        batches=stage.stream(range(stage.step, settings.steps), ranks, source),
        readers=training.readers,
        stage=settings,
        losses=stage.run.losses,
        ranks=ranks,
    )
