"""``pipe distill``."""

import click

from pipelines.commands.options import run_options
from pipelines.distill import distill
from pipelines.run import Run


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
def command(run: Run, stages: tuple[int, ...]) -> None:
    """Train the student from the store, without loading a teacher.

    \b
    Examples:
      pipe distill --run r
      pipe distill --run r --stage 2
    """
    run.begin()
    for number in stages or range(1, len(run.recipe.stages) + 1):
        distill(run, number)
    run.keep_recipe(trained=True)
