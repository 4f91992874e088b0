"""Options that several commands share."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from data_prep.errors import UsageError
from pipelines.suggestions import remember_run

_Command = Callable[..., Any]

run_option = click.option(
    "--run",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("run"),
    envvar="PIPE_RUN",
    show_default=True,
    show_envvar=True,
    callback=remember_run,
    help="The run directory.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
stage_option = click.option(
    "--stage",
    type=click.IntRange(min=1),
    metavar="N",
    help="The student of this stage. Default: the last that is finished.",
)
sets_option = click.option(
    "--sets",
    type=click.Path(path_type=Path, file_okay=False),
    help="A directory with sts/, retrieval/ or classification/. Default: the recipe's.",
)


def run_options(command: _Command) -> _Command:
    """Give a command the options that name a run, and pass it the opened ``Run``.

    Args:
        command: Takes ``run`` first, then its own options by name; it works in one process.

    Returns:
        The command with ``--run``, ``--recipe`` and ``--set``.
    """
    return _with_run(command, alone=True)


def optional_run_options(command: _Command) -> _Command:
    """Do the same for a command that also works without a run, and passes it None then.

    Args:
        command: Takes ``run``, a ``Run`` or None, first, then its own options by name.

    Returns:
        The command with ``--run``, ``--recipe`` and ``--set``.
    """
    return _with_run(command, alone=True, needed=False)


def worker_options(command: _Command) -> _Command:
    """Do the same for a command that may be launched as many processes.

    Args:
        command: Takes ``run`` first, then its own options by name.

    Returns:
        The command with ``--run``, ``--recipe`` and ``--set``.
    """
    return _with_run(command, alone=False)


def _with_run(command: _Command, *, alone: bool, needed: bool = True) -> _Command:

    @run_option
    @click.option(
        "--recipe",
        metavar="NAME|FILE",
        help="A built-in recipe or a TOML file. Default: the run's own.",
    )
    @click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change the recipe, e.g. --set stages.0.steps=100. May be repeated.",
    )
    @wraps(command)
    def opened(
        directory: Path, recipe: str | None, overrides: tuple[str, ...], **others: Any
    ) -> Any:
        ranks = os.environ.get("WORLD_SIZE", "")
        if alone and ranks.isdigit() and int(ranks) > 1:
            raise UsageError(
                f"found a launch of {ranks} processes; this command works in one. Start it "
                "without torchrun or deepspeed."
            )
        from pipelines.run import Run

        if not needed and recipe is None and not (directory / "recipe.toml").exists():
            return command(None, **others)
        return command(Run.open(directory, recipe, overrides), **others)

    return opened
