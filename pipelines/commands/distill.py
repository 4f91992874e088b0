"""``pipe distill``."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from pipelines.commands.options import run_options
from pipelines.distill import distill
from pipelines.moving import bring_run, reading_from
from pipelines.run import Run
from student.stage_rows import RowChoice

_FILES_AT_A_TIME = 4


def _bring_run_first(command: Callable[..., Any]) -> Callable[..., Any]:
    """Fetch the recipe and the corpus of ``--store`` before the run is opened with them."""

    @wraps(command)
    def brought(**options: Any) -> Any:
        if options["store"]:
            recipe = options["recipe"] is None
            bring_run(options["store"], options["directory"], _FILES_AT_A_TIME, recipe=recipe)
        return command(**options)

    return brought


@click.command("distill")
@_bring_run_first
@run_options
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
def command(
    run: Run,
    stages: tuple[int, ...],
    rows: RowChoice,
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
      pipe distill --run r --store s3://bucket/run --cache /scratch/cache --cache-size 500GB
    """
    source = reading_from(store, cache, cache_size) if store else None
    run.begin()
    for number in stages or range(1, len(run.recipe.stages) + 1):
        distill(run, number, rows, source)
    run.keep_recipe(trained=True)
