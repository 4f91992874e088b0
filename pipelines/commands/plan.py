"""``pipe plan``."""

from typing import TYPE_CHECKING

import click

from pipelines.commands.options import json_option, run_options
from pipelines.report import result

if TYPE_CHECKING:
    from pipelines.run import Run


@click.command("plan")
@run_options
@json_option
def command(run: "Run", as_json: bool) -> None:
    """Say what a run would do and what it costs; nothing is written.

    \b
    Examples:
      pipe plan --recipe jasper
      pipe plan --run r --set stages.0.steps=100
    """
    from pipelines.plan import plan

    planned = plan(run)
    result(planned.as_text(), planned.as_dict(), as_json)
