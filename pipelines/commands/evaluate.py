"""``pipe eval``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from data_prep.errors import UsageError
from pipelines.commands.options import json_option, run_options, sets_option, stage_option
from pipelines.report import result

if TYPE_CHECKING:
    from pipelines.run import Run


@click.command("eval")
@run_options
@stage_option
@sets_option
@click.option(
    "--mteb",
    "names",
    multiple=True,
    metavar="NAME",
    help="A benchmark or a task of mteb instead, e.g. 'MTEB(eng, v2)'. May be repeated.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="With --mteb: student, start or a teacher's name. May be repeated. Default: student.",
)
@click.option(
    "--heads",
    type=click.Choice(["default", "all"]),
    default="default",
    show_default=True,
    help="With --mteb: which of the student's heads.",
)
@click.option(
    "--published",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --mteb: others' results to compare with, e.g. a checkout of mteb's repository.",
)
@click.option(
    "--published-model",
    "published_models",
    multiple=True,
    metavar="NAME",
    help="Whose results to take from there, beside the teachers' and the paper's models'.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    run: "Run",
    stage: int | None,
    sets: Path | None,
    names: tuple[str, ...],
    models: tuple[str, ...],
    heads: str,
    published: Path | None,
    published_models: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare the student with its teachers and its own start.

    \b
    Examples:
      pipe eval --run r
      pipe eval --run r --sets evaluation-sets --json
      pipe eval --run r --mteb "MTEB(eng, v2)" --model student --model start
      pipe eval --run r --mteb STS12 --mteb SICK-R --heads all
    """
    from pipelines.evaluate import evaluate
    from pipelines.evaluate_mteb import Asked, evaluate_mteb
    from pipelines.sessions import session

    if not names:
        if models or heads != "default" or published or published_models:
            raise UsageError(
                "found --model, --heads or --published without --mteb, expected them with a "
                "benchmark; without one every model and every head is measured."
            )
        with session(run.directory, "eval"):
            measured = evaluate(run, stage, sets)
        result(measured.table, dict(measured.comparison), as_json)
        return
    if sets is not None:
        raise UsageError("found --sets with --mteb, expected one of the two; run them in turn.")
    asked = Asked(
        names,
        models or ("student",),
        all_heads=heads == "all",
        stage=stage,
        published=published,
        published_models=published_models,
    )
    with session(run.directory, "eval mteb"):
        found = evaluate_mteb(run, asked)
    result(found.table, dict(found.data), as_json)
    if found.failed:
        ctx.exit(1)
