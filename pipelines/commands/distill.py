"""``pipe distill``."""

import click

from pipelines.commands.options import run_options
from pipelines.distill import distill
from pipelines.run import Run
from student.stage_rows import RowChoice


@click.command("distill")
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
def command(run: Run, stages: tuple[int, ...], rows: RowChoice) -> None:
    """Train the student from the store, without loading a teacher.

    With --rows available, training may begin while the store is still being filled. A stage keeps
    the shards that it began with, whatever comes later and however often it is resumed; the next
    stage takes those that are there when it begins.

    \b
    Examples:
      pipe distill --run r
      pipe distill --run r --stage 2
      pipe distill --run r --stage 1 --rows available
    """
    run.begin()
    for number in stages or range(1, len(run.recipe.stages) + 1):
        distill(run, number, rows)
    run.keep_recipe(trained=True)
