"""``pipe status``."""

import click

from pipelines.commands.options import json_option, run_options
from pipelines.report import result
from pipelines.run import Run
from pipelines.status import as_data, as_text, status


@click.command("status")
@run_options
@json_option
def command(run: Run, as_json: bool) -> None:
    """Say where the run stands.

    \b
    Example:
      pipe status --run r
    """
    lines = status(run)
    result(as_text(lines), as_data(lines), as_json)
