"""``pipe prep``."""

from typing import TYPE_CHECKING

import click

from data_prep.executors import Executor
from pipelines.commands.executors import core_options
from pipelines.commands.options import json_option, run_options
from pipelines.report import result

if TYPE_CHECKING:
    from data_prep.config import OnError
    from pipelines.run import Run


@click.command("prep")
@run_options
@core_options
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    help="Stop at a record or file that cannot be read, or leave it out and count it. Default: as "
    "each source's on_error says, which is to stop.",
)
@json_option
def command(run: "Run", executor: Executor, on_error: "OnError | None", as_json: bool) -> None:
    """Write the corpus: documents cleaned, cut into spans, mixed, shuffled, numbered.

    The corpus is the same, byte for byte, from any number of workers. A run that was interrupted
    goes on where it was. It ends with a table of what the corpus holds.

    \b
    Examples:
      pipe prep --recipe laptop --run r
      pipe prep --recipe my.toml --set corpus.texts=100000
      pipe prep --recipe my.toml --run r --workers 4
      pipe prep --run r --executor ray --ray-address auto
      pipe prep --recipe my.toml --run r --on-error skip
    """
    from pipelines.corpora import table
    from pipelines.prepare import prepare_run

    if on_error is not None:
        run = run.on_error(on_error)
    run.begin()
    prepare_run(run, executor)
    run.keep_recipe()
    result(*table(run), as_json)
