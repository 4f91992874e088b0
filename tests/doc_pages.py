"""The documents' pages, their blocks of code, and the commands in these."""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.S | re.M)
_ENDS = {"|", "||", "&&", ";", ">", ">>", "&"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, empty where none is named, and its lines."""

    language: str
    code: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page, in order, of some languages or of all."""
    found = [
        Block(language, re.sub(rf"^{indent}", "", code, flags=re.M))
        for indent, language, code in _FENCE.findall(page.read_text())
    ]
    return [block for block in found if not languages or block.language in languages]


def command_lines(page: Path, program: str) -> Iterator[list[str]]:
    """The words of every command of a page's blocks that runs a program, from the program on.

    Launchers and variables in front of it are left out, and so is what follows a pipe sign.
    """
    for block in blocks(page, "", "sh"):
        for line in block.code.replace("\\\n", " ").splitlines():
            if not re.search(rf"(^|\s|/){re.escape(program)}\s", line):
                continue
            words = shlex.split(line, comments=True)
            starts = [at for at, word in enumerate(words) if re.search(rf"(^|/){program}$", word)]
            if starts:
                rest = words[starts[0] :]
                end = next((at for at, word in enumerate(rest) if word in _ENDS), len(rest))
                yield rest[:end]


def commands(
    group: click.Group, path: tuple[str, ...] = ("pipe",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, groups included, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def activated(directory: Path) -> dict[str, str]:
    """The environment that activating `.venv` gives: `pipe` and `python` are this project's.

    Args:
        directory: Where scripts of these names are put; it is made.
    """
    directory.mkdir()
    calls = {"pipe": "-m pipelines ", "python": "", "torchrun": "-m torch.distributed.run "}
    for name, call in calls.items():
        script = directory / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {call}"$@"\n')
        script.chmod(0o755)
    path = f"{directory}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
