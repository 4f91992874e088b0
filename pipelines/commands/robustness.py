"""``pipe robustness``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.options import json_option, optional_run_options, sets_option, stage_option
from pipelines.report import result

if TYPE_CHECKING:
    from pipelines.run import Run


@click.command("robustness")
@optional_run_options
@sets_option
@click.option(
    "--mteb",
    "names",
    multiple=True,
    metavar="NAME",
    help="A benchmark or a task of mteb. May be repeated.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="student, start or a teacher's name. May be repeated. Default: student.",
)
@click.option(
    "--model-path",
    "paths",
    multiple=True,
    metavar="MODEL",
    help="Any sentence-transformers directory, package:NAME/directory or hub name. May be "
    "repeated; needs no run.",
)
@click.option(
    "--paraphrases",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A TOML file with your own instructions and paraphrases, before the built-in ones.",
)
@stage_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    run: "Run | None",
    sets: Path | None,
    names: tuple[str, ...],
    models: tuple[str, ...],
    paths: tuple[str, ...],
    paraphrases: Path | None,
    stage: int | None,
    as_json: bool,
) -> None:
    """Measure how much scores hang on the words of a task's instruction.

    \b
    Examples:
      pipe robustness --run r
      pipe robustness --run r --sets evaluation-sets --model student --model all-minilm-l6-v2
      pipe robustness --model-path my-model --mteb STS12 --mteb SciFact
      pipe robustness --run r --paraphrases my.toml --json
    """
    from pipelines.robustness import Asked, measure_robustness

    found = measure_robustness(run, Asked(models, paths, sets, names, paraphrases, stage))
    result(found.table, found.data, as_json)
    if found.failed:
        ctx.exit(1)
