"""Lists of what was left out of a corpus and why, for people: a line of JSON each."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from data_prep.cleaning import CONTAMINATED, UNREADABLE
from data_prep.files import atomic_write

LISTS = {CONTAMINATED: "decontaminated.jsonl", UNREADABLE: "unreadable.jsonl"}
"""The reasons that are listed, and the file beside the manifest for each."""


class Note(Protocol):
    """Takes a reason and what is known of the text that was left out for it."""

    def __call__(self, reason: str, **facts: str) -> None:
        """Note one text."""


@contextmanager
def noting(path: Path) -> Iterator[Note]:
    """Keep a list while a unit is read.

    Args:
        path: The list's file; it is there afterwards only if something was noted.

    Yields:
        A function that notes.
    """
    path.unlink(missing_ok=True)
    with ExitStack() as stack:
        files: list[TextIO] = []

        def note(reason: str, **facts: str) -> None:
            if not files:
                path.parent.mkdir(parents=True, exist_ok=True)
                files.append(stack.enter_context(path.open("w", encoding="utf-8")))
            files[0].write(json.dumps({"reason": reason, **facts}, ensure_ascii=False) + "\n")

        yield note


def gather(paths: Iterable[Path], directory: Path) -> None:
    """Put the units' lists together: one file for each reason, or none if nothing was left out.

    Args:
        paths: Where the units' lists are, if they are, in the order of the units.
        directory: The corpus.
    """
    there = [path for path in paths if path.is_file()]
    for reason, name in LISTS.items():
        (directory / name).unlink(missing_ok=True)
        lines = (
            record for path in there for record in _read(path) if record.pop("reason") == reason
        )
        first = next(lines, None)
        if first is None:
            continue
        with (
            atomic_write(directory / name) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            file.write(json.dumps(first, ensure_ascii=False) + "\n")
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in lines)


def _read(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
