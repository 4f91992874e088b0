"""``pipe prep``."""

import click

from data_prep.prepare import prepare
from pipelines.commands.options import run_options
from pipelines.pairs import prepare_run_pairs
from pipelines.report import say
from pipelines.run import Run


@click.command("prep")
@run_options
def command(run: Run) -> None:
    """Write the corpus: documents cut into spans, mixed, shuffled, numbered.

    \b
    Examples:
      pipe prep --recipe laptop --run r
      pipe prep --recipe my.toml --set corpus.texts=100000
    """
    run.begin()
    prepare(run.recipe.corpus, run.corpus, say)
    prepare_run_pairs(run, say)
    run.keep_recipe()
