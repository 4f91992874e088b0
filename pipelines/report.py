"""What the commands print: results on standard output, progress on standard error."""

import json
from typing import Any

import click


def say(line: str) -> None:
    """Print a line of progress.

    Args:
        line: One line for people, or for a log.
    """
    click.echo(line, err=True)


def result(text: str, data: Any, as_json: bool) -> None:
    """Print a command's result.

    Args:
        text: For people.
        data: For programs.
        as_json: Which of them is wanted.
    """
    click.echo(json.dumps(data, ensure_ascii=False) if as_json else text)


def size(count: float) -> str:
    """A number of bytes for people.

    >>> size(196_608_000_000)
    '196.6 GB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(42), duration(5400), duration(200_000)
    ('42 s', '90 min', '55.6 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
