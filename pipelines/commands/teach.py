"""``pipe teach``."""

import click

from pipelines.commands.options import run_options
from pipelines.run import Run
from pipelines.teach import teach
from teacher_cache.engines import ENGINES


@click.command("teach")
@run_options
@click.option(
    "--teacher",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this teacher of the recipe. May be repeated. Default: all.",
)
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="transformers",
    show_default=True,
    help="What runs the teachers. vllm is compared with transformers on a sample first.",
)
def command(run: Run, names: tuple[str, ...], engine: str) -> None:
    """Encode the corpus with the teachers, every missing shard once.

    \b
    Examples:
      pipe teach --run r
      pipe teach --run r --teacher all-minilm-l6-v2
      pipe teach --run r --teacher stella-en-1.5b-v5 --engine vllm
    """
    run.begin()
    teach(run, [run.recipe.teacher(name) for name in names] or run.recipe.teachers, engine)
    run.keep_recipe()
