"""``pipe distill``."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.options import worker_options

if TYPE_CHECKING:
    from pipelines.launch import Launcher
    from pipelines.run import Run
    from student.ranks import Ranks
    from student.stage_rows import RowChoice

_FILES_AT_A_TIME = 4
_OF_THE_LAUNCH = ("--launcher", "--nproc")


def _launched(command: Callable[..., Any]) -> Callable[..., Any]:
    """Start the command again in several processes, or go on as one of them."""

    @wraps(command)
    def launched(launcher: "Launcher | None", nproc: int | None, **options: Any) -> Any:
        from pipelines.launch import end_with_launcher, launch, process_count
        from student.ranks import join_ranks

        end_with_launcher()
        ranks = join_ranks()
        if ranks.count == 1 and (launcher or nproc):
            arguments = _without(sys.argv[1:], _OF_THE_LAUNCH)
            status = launch(launcher or "torchrun", process_count(nproc), arguments)
            return click.get_current_context().exit(status)
        return command(ranks=ranks, **options)

    return launched


def _without(arguments: list[str], names: tuple[str, ...]) -> list[str]:
    """Arguments without some options that take a value."""
    left: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in names:
            next(rest, None)
        elif argument.partition("=")[0] not in names:
            left.append(argument)
    return left


def _bring_run_first(command: Callable[..., Any]) -> Callable[..., Any]:
    """Fetch the recipe and the corpus of ``--store`` before the run is opened with them."""

    @wraps(command)
    def brought(ranks: "Ranks", **options: Any) -> Any:
        if options["store"]:
            recipe = options["recipe"] is None
            if ranks.first:
                from pipelines.moving import bring_run

                bring_run(options["store"], options["directory"], _FILES_AT_A_TIME, recipe=recipe)
            ranks.wait()
        return command(ranks=ranks, **options)

    return brought


@click.command("distill")
@_launched
@_bring_run_first
@worker_options
@click.option(
    "--stage",
    "stages",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="Only this stage. May be repeated. Default: every stage that is not finished.",
)
@click.option(
    "--rows",
    type=click.Choice(["all", "available"]),
    default="all",
    show_default=True,
    help="What a stage that begins is trained on: all rows, or those of the shards that every "
    "teacher has committed by then.",
)
@click.option(
    "--store",
    metavar="PLACE",
    envvar="PIPE_STORE",
    show_envvar=True,
    help="Read the vectors of this run: a directory, or a URL, whose shards come through a cache. "
    "Default: the run's own store.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="PIPE_CACHE",
    show_envvar=True,
    help="The cache's directory. Default: ~/.cache/jasper-distill.",
)
@click.option(
    "--cache-size",
    default="200GB",
    show_default=True,
    metavar="SIZE",
    help="What the shards in the cache may take.",
)
@click.option(
    "--launcher",
    type=click.Choice(["torchrun", "deepspeed"]),
    help="Train in several processes of this machine, started by this launcher. Default: torchrun "
    "if --nproc is given, else this process alone. Inside a launch of torchrun or deepspeed, as on "
    "several machines, neither option is needed.",
)
@click.option(
    "--nproc",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many processes. Default: one on each GPU.",
)
def command(
    run: "Run",
    ranks: "Ranks",
    stages: tuple[int, ...],
    rows: "RowChoice",
    store: str | None,
    cache: Path | None,
    cache_size: str,
) -> None:
    """Train the student from the store, without loading a teacher.

    With --rows available, training may begin while the store is still being filled. A stage keeps
    the shards that it began with, whatever comes later and however often it is resumed; the next
    stage takes those that are there when it begins.

    \b
    Examples:
      pipe distill --run r
      pipe distill --run r --stage 2
      pipe distill --run r --stage 1 --rows available
      pipe distill --run r --stage 2 --launcher torchrun --nproc 8
      torchrun --nnodes 2 --nproc-per-node 8 ... --no-python -- pipe distill --run /shared/r
      pipe distill --run r --store s3://bucket/run --cache /scratch/cache --cache-size 500GB
    """
    from pipelines.distill import distill
    from pipelines.moving import reading_from

    source = reading_from(store, cache, cache_size) if store else None
    if ranks.first:
        run.begin()
    ranks.wait()
    for number in stages or range(1, len(run.recipe.stages) + 1):
        distill(run, number, rows, source, ranks)
    if ranks.first:
        run.keep_recipe(trained=True)
