"""``pipe store``."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.options import json_option, run_options
from pipelines.commands.store_moving import merge_command, pull_command, push_command
from pipelines.report import result

if TYPE_CHECKING:
    from pipelines.run import Run
    from pipelines.stores import Asked


@click.group("store")
def command() -> None:
    """Look into the store of teacher vectors, and move it."""


for _moving in (push_command, pull_command, merge_command):
    command.add_command(_moving)


_pairs_option = click.option(
    "--pairs",
    is_flag=True,
    help="The store of the captions of image-caption pairs, which `pipe teach --teacher student` "
    "fills, instead of that of the corpus.",
)


@command.command("info")
@run_options
@_pairs_option
@json_option
def info_command(run: "Run", pairs: bool, as_json: bool) -> None:
    """Say which teachers the store has and how much of them is committed.

    \b
    Example:
      pipe store info --run r
      pipe store info --run r --pairs
    """
    from pipelines.stores import Held, info

    result(*info(Held.of(run, pairs=pairs)), as_json)


def _asked_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which part of a store is meant, as ``asked``."""

    @click.option(
        "--teacher",
        "teachers",
        multiple=True,
        metavar="NAME",
        help="Only this one. May be repeated.",
    )
    @click.option(
        "--sample", metavar="N|SHARE", help="Only so many shards, or this share (0.01 or 1%)."
    )
    @click.option("--used", is_flag=True, help="Only what training and evaluation read.")
    @click.option("--seed", type=int, help="Draws the sample. Default: another one each time.")
    @wraps(command)
    def asking(
        *args: Any,
        teachers: tuple[str, ...],
        sample: str | None,
        used: bool,
        seed: int | None,
        **others: Any,
    ) -> Any:
        from pipelines.stores import Asked

        return command(*args, asked=Asked(teachers, sample, used, seed), **others)

    return asking


@command.command("verify")
@run_options
@_pairs_option
@_asked_options
@json_option
def verify_command(run: "Run", pairs: bool, asked: "Asked", as_json: bool) -> None:
    """Compare committed vectors and their texts with their digests; exit 1 on an error.

    \b
    Example:
      pipe store verify --run r
      pipe store verify --run r --sample 1%
    """
    from pipelines.stores import Held, check

    text, data, sound = check(Held.of(run, pairs=pairs), asked)
    result(text, data, as_json)
    if not sound:
        sys.exit(1)


@command.command("repair")
@run_options
@_pairs_option
@_asked_options
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@json_option
def repair_command(run: "Run", pairs: bool, asked: "Asked", dry_run: bool, as_json: bool) -> None:
    """Set bad shards aside, so that `pipe teach` encodes them again; nothing is deleted.

    \b
    Example:
      pipe store repair --run r --dry-run
      pipe store repair --run r
      pipe store repair --run r --pairs
    """
    from pipelines.stores import Held, mend

    result(*mend(Held.of(run, pairs=pairs), asked, pretend=dry_run), as_json)
