"""``pipe status``."""

from typing import TYPE_CHECKING

import click

from pipelines.commands.options import json_option, run_options
from pipelines.report import result

if TYPE_CHECKING:
    from pipelines.run import Run


@click.command("status")
@run_options
@json_option
def command(run: "Run", as_json: bool) -> None:
    """Say where the run stands.

    \b
    Example:
      pipe status --run r
    """
    from pipelines.status import as_data, as_text, status

    lines = status(run)
    result(as_text(lines), as_data(lines), as_json)
