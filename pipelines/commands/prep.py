"""``pipe prep``."""

import click

from pipelines.commands.options import run_options
from pipelines.prepare import prepare_run
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
    prepare_run(run)
    run.keep_recipe()
