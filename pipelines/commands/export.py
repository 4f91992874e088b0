"""``pipe export``."""

from pathlib import Path

import click

from pipelines.commands.options import json_option, run_options
from pipelines.export import export_student
from pipelines.report import result
from pipelines.run import Run


@click.command("export")
@run_options
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where it goes. Default: RUN/export, or RUN/export-images.",
)
@click.option("--head", metavar="NAME", help="The head it uses. Default: the recipe's.")
@click.option(
    "--images",
    is_flag=True,
    help="The vision encoder and every head as well, as a model that loads after `import student`.",
)
@json_option
def command(run: Run, target: Path | None, head: str | None, images: bool, as_json: bool) -> None:
    """Write the student as a directory that SentenceTransformer loads.

    \b
    Examples:
      pipe export --run r
      pipe export --run r --head fc3 --to my-model
      pipe export --run r --images
    """
    exported = export_student(run, target, head, images=images)
    result(str(exported.directory), exported.as_dict(), as_json)
