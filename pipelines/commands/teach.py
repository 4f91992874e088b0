"""``pipe teach``."""

import os
from typing import TYPE_CHECKING

import click

from data_prep.executors import Executor
from pipelines.commands.executors import executor_options
from pipelines.commands.options import worker_options
from pipelines.report import say
from teacher_cache.encoders.tower_options import AS_USUAL, KERNELS, TowerOptions
from teacher_cache.engines import ENGINES
from teacher_cache.workers import from_environment, parse

if TYPE_CHECKING:
    from pipelines.run import Run


@click.command("teach")
@worker_options
@click.option(
    "--teacher",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this teacher of the recipe; student for the captions of image-caption pairs, which "
    "the student of the last stage on texts encodes. May be repeated. Default: all of the recipe.",
)
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="transformers",
    show_default=True,
    help="What runs the teachers. vllm is compared with transformers on a sample first.",
)
@click.option(
    "--kernel",
    type=click.Choice(list(KERNELS)),
    default=AS_USUAL.kernel,
    show_default=True,
    help="Attention kernel of the transformers. flash_attention_2 needs the package flash-attn.",
)
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile the transformers with torch.compile; the first batches then take longer.",
)
@click.option(
    "--worker",
    "share",
    metavar="K/N",
    help="Only the share of the K-th of N workers, from 1. Default: as torchrun or a SLURM array "
    "says; else everything.",
)
@executor_options
def command(
    run: "Run",
    names: tuple[str, ...],
    engine: str,
    kernel: str,
    compiled: bool,
    share: str | None,
    executor: Executor,
) -> None:
    """Encode the corpus with the teachers, every missing shard once.

    Several workers need only the same run directory. Each takes its fixed share of the shards;
    two with the same share do no harm but work twice.

    \b
    Examples:
      pipe teach --run r
      pipe teach --run r --teacher all-minilm-l6-v2
      pipe teach --run r --teacher stella-en-1.5b-v5 --engine vllm
      pipe teach --run r --teacher all-minilm-l6-v2 --compile
      pipe teach --run r --teacher student
      pipe teach --run r --worker 3/16
      sbatch --array=0-15 --gpus=1 --wrap "srun pipe teach --run r"
      torchrun --nproc-per-node 8 --no-python -- pipe teach --run r
      pipe teach --run r --executor ray --ray-address auto --gpus-per-actor 1
    """
    from pipelines.teach import teach, teach_captions
    from student.config import CAPTIONS_TEACHER

    worker = parse(share) if share is not None else from_environment(os.environ)
    if worker.of > 1:
        say(f"worker {worker}, from {worker.source}")
    options = TowerOptions(kernel, compiled)
    # A recipe without images may have a teacher of that name.
    captions = CAPTIONS_TEACHER in names and all(
        teacher.name != CAPTIONS_TEACHER for teacher in run.recipe.teachers
    )
    others = [name for name in names if not (captions and name == CAPTIONS_TEACHER)]
    teachers = [run.recipe.teacher(name) for name in others] or run.recipe.teachers
    run.begin()
    if others or not names:
        teach(run, teachers, worker, executor, engine, options)
    if captions:
        teach_captions(run, worker, executor, engine, options)
    run.keep_recipe()
