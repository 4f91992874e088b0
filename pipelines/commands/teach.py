"""``pipe teach``."""

import click

from pipelines.commands.options import run_options
from pipelines.run import Run
from pipelines.teach import teach


@click.command("teach")
@run_options
@click.option(
    "--teacher",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this teacher of the recipe. May be repeated. Default: all.",
)
def command(run: Run, names: tuple[str, ...]) -> None:
    """Encode the corpus with the teachers, every missing shard once.

    \b
    Examples:
      pipe teach --run r
      pipe teach --run r --teacher all-minilm-l6-v2
    """
    run.begin()
    teach(run, [run.recipe.teacher(name) for name in names] or run.recipe.teachers)
    run.keep_recipe()
