"""``pipe store``."""

import sys

import click

from pipelines.commands.options import json_option, run_options
from pipelines.commands.store_moving import merge_command, pull_command, push_command
from pipelines.report import result
from pipelines.run import Run
from pipelines.stores import check, info


@click.group("store")
def command() -> None:
    """Look into the store of teacher vectors, and move it."""


for _moving in (push_command, pull_command, merge_command):
    command.add_command(_moving)


@command.command("info")
@run_options
@json_option
def info_command(run: Run, as_json: bool) -> None:
    """Say which teachers the store has and how much of them is committed.

    \b
    Example:
      pipe store info --run r
    """
    result(*info(run), as_json)


@command.command("verify")
@run_options
@json_option
def verify_command(run: Run, as_json: bool) -> None:
    """Check every committed vector against its digest; exit 1 if one is bad.

    \b
    Example:
      pipe store verify --run r
    """
    text, problems = check(run)
    result(text, problems, as_json)
    if problems:
        sys.exit(1)
