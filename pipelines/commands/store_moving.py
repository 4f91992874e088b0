"""``pipe store push``, ``pull`` and ``merge``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.options import json_option, run_option
from pipelines.report import result

if TYPE_CHECKING:
    from teacher_cache.moving import Selection

_Command = Callable[..., Any]

_jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Files copied at a time.",
)
_teacher_option = click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="NAME",
    help="Only this teacher. May be repeated. Default: all.",
)
_shards_option = click.option(
    "--shards", metavar="LIST", help="Only these shards, e.g. 0-99,120. Default: all."
)


def _selection(
    teachers: tuple[str, ...], shards: str | None, *, vectors: bool = True
) -> "Selection":
    from pipelines.moving import shard_numbers
    from teacher_cache.moving import Selection

    return Selection(teachers, None if shards is None else shard_numbers(shards), vectors)


@click.command("push")
@click.argument("url")
@run_option
@_teacher_option
@_shards_option
@_jobs_option
@json_option
def push_command(
    url: str,
    directory: Path,
    teachers: tuple[str, ...],
    shards: str | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Copy a run's corpus and store to URL: what is missing there, each shard checked.

    URL is a directory or any fsspec URL, such as s3://bucket/run.

    \b
    Examples:
      pipe store push s3://bucket/run --run r
      pipe store push hf://datasets/me/vectors --run r --teacher stella-en-1.5b-v5
    """
    from pipelines.moving import copy

    result(*copy([directory], url, _selection(teachers, shards), jobs), as_json)


@click.command("pull")
@click.argument("url")
@run_option
@_teacher_option
@_shards_option
@click.option(
    "--no-vectors",
    is_flag=True,
    help="All but the shards, as training through the cache wants it.",
)
@_jobs_option
@json_option
def pull_command(
    url: str,
    directory: Path,
    teachers: tuple[str, ...],
    shards: str | None,
    no_vectors: bool,
    jobs: int,
    as_json: bool,
) -> None:
    """Copy a corpus and a store from URL into a run: what is missing, each shard checked.

    URL is a directory or any fsspec URL. The run need not exist; its recipe comes too.

    \b
    Examples:
      pipe store pull s3://bucket/run --run r
      pipe store pull s3://bucket/run --run r --shards 0-99
    """
    from pipelines.moving import copy

    selection = _selection(teachers, shards, vectors=not no_vectors)
    result(*copy([url], directory, selection, jobs), as_json)


@click.command("merge")
@click.argument("places", nargs=-1, required=True)
@click.option("--into", required=True, metavar="PLACE", help="The place that gets it all.")
@_teacher_option
@_shards_option
@_jobs_option
@json_option
def merge_command(
    places: tuple[str, ...],
    into: str,
    teachers: tuple[str, ...],
    shards: str | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Copy the teachers and shards of several PLACES into one.

    A place is a run directory or the URL of one. Where two have different vectors of a shard, what
    is there already is kept, else the first named; it is said how far they differ.

    \b
    Examples:
      pipe store merge cluster-1 cluster-2 --into all
      pipe store merge s3://one/run s3://two/run --into r --json
    """
    from pipelines.moving import copy

    result(*copy(places, into, _selection(teachers, shards), jobs), as_json)
