"""``pipe report``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.options import json_option, run_options
from pipelines.report import result

if TYPE_CHECKING:
    from pipelines.run import Run


@click.command("report")
@run_options
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write. Default: report.html in the run.",
)
@json_option
def command(run: "Run", to: Path | None, as_json: bool) -> None:
    """Write what the run did and reached as one HTML file, which needs no network.

    \b
    Examples:
      pipe report --run r
      pipe report --run r --to report.html --json
    """
    from pipelines.report_page import write_report

    written = write_report(run, to)
    lines = [f"the report is in {written.path}", *(f"note: {note}" for note in written.notes)]
    result("\n".join(lines), written.as_dict(), as_json)
