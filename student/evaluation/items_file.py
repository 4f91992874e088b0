"""The figures of a task's items on disk, and what was measured on a set of a directory."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_prep.errors import PipeError
from data_prep.files import atomic_write, read_json, write_json
from student.evaluation.items import Items
from student.evaluation.tasks import Measured

Parts = Mapping[str, Sequence[str]]
"""The subsets of each split that a score is of."""


def write_items(path: Path, items: Items | None, parts: Parts | None = None) -> None:
    """Keep figures.

    Args:
        path: An ``.npz`` file; its directory is made.
        items: The figures; None leaves a file that says that there are none.
        parts: What they were measured on, where a task has parts.
    """
    arrays = {"parts": np.array(_written(parts))}
    if items is not None:
        arrays["figures"] = items.figures_N
        if items.gold_N is not None:
            arrays["gold"] = items.gold_N
    with atomic_write(path) as scratch, scratch.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_items(path: Path, score: float, parts: Parts | None = None) -> Items | None:
    """Read figures.

    Args:
        path: What ``write_items`` wrote; it need not exist.
        score: What they must make, from 0 to 1.
        parts: What they must have been measured on.

    Returns:
        The figures; None if there are none, or those of another score.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "figures" not in arrays or str(arrays["parts"]) != _written(parts):
                return None
            gold = arrays.get("gold")
            items = Items("mean" if gold is None else "spearman", arrays["figures"], gold)
    except (OSError, LookupError, ValueError, zipfile.BadZipFile):
        return None
    return items if items.make(score) else None


def _written(parts: Parts | None) -> str:
    return json.dumps({split: sorted(subsets) for split, subsets in sorted((parts or {}).items())})


def write_measured(path: Path, measured: Measured) -> None:
    """Keep a score with its items.

    Args:
        path: A ``.json`` file; the items lie beside it.
        measured: What was measured.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if measured.items is not None:
        write_items(path.with_suffix(".npz"), measured.items)
    write_json(path, {"score": measured.score})  # last: with it the whole is there


def read_measured(path: Path) -> Measured | None:
    """Read a score with its items.

    Args:
        path: What ``write_measured`` wrote; it need not exist.

    Returns:
        What was measured; None if it is not there or not whole.
    """
    try:
        score = float(read_json(path)["score"])
        return Measured(score, read_items(path.with_suffix(".npz"), score / 100))
    except (PipeError, OSError, KeyError, TypeError, ValueError):
        return None
