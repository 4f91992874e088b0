"""``pipe eval``."""

from pathlib import Path

import click

from pipelines.commands.options import json_option, run_options
from pipelines.evaluate import evaluate
from pipelines.report import result
from pipelines.run import Run
from pipelines.sessions import session


@click.command("eval")
@run_options
@click.option(
    "--stage",
    type=click.IntRange(min=1),
    metavar="N",
    help="The student of this stage. Default: the last that is finished.",
)
@click.option(
    "--sets",
    type=click.Path(path_type=Path, file_okay=False),
    help="A directory with sts/, retrieval/ or classification/. Default: the recipe's.",
)
@json_option
def command(run: Run, stage: int | None, sets: Path | None, as_json: bool) -> None:
    """Compare the student with its teachers and its own start.

    \b
    Examples:
      pipe eval --run r
      pipe eval --run r --sets evaluation-sets --json
    """
    with session(run.directory, "eval"):
        measured = evaluate(run, stage, sets)
    result(measured.table, dict(measured.comparison), as_json)
