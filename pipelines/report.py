"""What the commands print: results on standard output, progress on standard error."""

import json
from typing import Any

import click

from data_prep.quantities import duration, size
from pipelines.suggestions import with_run

__all__ = ["duration", "result", "say", "size"]


def say(line: str) -> None:
    """Print a line of progress.

    Args:
        line: One line for people, or for a log.
    """
    click.echo(with_run(line), err=True)


def result(text: str, data: Any, as_json: bool) -> None:
    """Print a command's result.

    Args:
        text: For people.
        data: For programs.
        as_json: Which of them is wanted.
    """
    click.echo(json.dumps(data, ensure_ascii=False) if as_json else with_run(text))
