"""Commands that sentences name: with the run directory that the user gave.

The rooms below know no run, so a sentence of theirs says ``pipe teach``; where the user works in
another directory than the default one, the command would do something else there.
"""

import re
import shlex
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

_GIVEN: Final = "pipelines.run"
_NAMED: Final = re.compile(
    r"`(pipe (?:run|prep|teach|distill|eval|robustness|export|report|status|plan|corpus \w+"
    r"|store (?:info|verify|repair))(?: [^`]*)?)`"
)
"""A command that takes ``--run``; ``store push`` is mostly named for another place."""


def remember_run(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """Keep a run directory that stands on the command line; a callback of ``--run``.

    Args:
        ctx: The command's context.
        param: The option.
        value: The directory.

    Returns:
        The directory.
    """
    if param.name and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
        ctx.meta[_GIVEN] = value
    return value


def with_run(text: str) -> str:
    """Let the commands that a text names work in the run that the user named.

    Args:
        text: Commands stand between backticks.

    Returns:
        The text, with ``--run`` in every command that takes it and has none; the same text where
        the user named no run.
    """
    ctx = click.get_current_context(silent=True)
    given = ctx.meta.get(_GIVEN) if ctx is not None else None
    if given is None:
        return text
    return _NAMED.sub(lambda found: _completed(found[1], given), text)


def in_run(command: str, run: Path) -> str:
    """Say how a command works in a run.

    Args:
        command: Such as ``pipe eval``.
        run: The run's directory.

    Returns:
        The command with ``--run``, as a shell takes it.
    """
    return f"{command} --run {shlex.quote(str(run))}"


def _completed(command: str, run: Path) -> str:
    return f"`{command}`" if "--run" in command else f"`{in_run(command, run)}`"
