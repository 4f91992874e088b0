"""``pipe corpus``."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pipelines.commands.options import run_options

if TYPE_CHECKING:
    from pipelines.run import Run


@click.group("corpus")
def command() -> None:
    """Look into the corpus."""


@command.command("show")
@run_options
@click.option("--rows", metavar="ROWS", help="Numbers and ranges, e.g. 0-9,4711.")
@click.option("--source", metavar="NAME", help="Only rows of this source.")
@click.option("--random", type=click.IntRange(min=1), metavar="N", help="So many rows, drawn.")
@click.option("--seed", type=click.IntRange(min=0), help="Draws them. Default: others each time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per row.")
def show_command(
    run: "Run",
    rows: str | None,
    source: str | None,
    random: int | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Print rows of the corpus with where they come from; by default the first ten.

    \b
    Examples:
      pipe corpus show --run r --rows 0-9,4711
      pipe corpus show --run r --source questions
      pipe corpus show --run r --random 20 --seed 0 --json
    """
    from pipelines.corpora import Shown, as_text, show

    for row in show(run, Shown(rows, source, random, seed)):
        click.echo(json.dumps(asdict(row), ensure_ascii=False) if as_json else as_text(row) + "\n")
