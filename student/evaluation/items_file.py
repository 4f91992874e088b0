"""The figures of a task's items on disk, and what was measured on a set of a directory."""

from pathlib import Path

import numpy as np

from data_prep.errors import PipeError
from data_prep.files import atomic_write, read_json, write_json
from student.evaluation.items import Items
from student.evaluation.tasks import Measured


def write_items(path: Path, items: Items) -> None:
    """Keep figures.

    Args:
        path: An ``.npz`` file; its directory is made.
        items: The figures.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"figures": items.figures_N}
    if items.gold_N is not None:
        arrays["gold"] = items.gold_N
    with atomic_write(path) as scratch, scratch.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_items(path: Path) -> Items | None:
    """Read figures.

    Args:
        path: What ``write_items`` wrote; it need not exist.

    Returns:
        The figures, or None.
    """
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        if "gold" in arrays:
            return Items("spearman", arrays["figures"], arrays["gold"])
        return Items("mean", arrays["figures"])


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
        return Measured(float(read_json(path)["score"]), read_items(path.with_suffix(".npz")))
    except (PipeError, OSError, KeyError, TypeError, ValueError):
        return None
