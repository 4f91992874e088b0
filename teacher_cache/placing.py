"""Put a finished file in place, unless one is there already: how two writers stay apart."""

import os
from pathlib import Path

from data_prep.files import sync


def place_if_absent(source: Path, target: Path) -> bool:
    """Give a finished file its place in one step, durably; a file that is there stays.

    A hard link is the one operation that is atomic, never overwrites, and works on network file
    systems. Where there are no hard links, a rename after a look takes its place.

    Args:
        source: A whole file on the same file system as ``target``; it may stay or be gone after.
        target: Where it belongs; its directories are made if need be.

    Returns:
        Whether ``target`` is now this file; False if another was there.
    """
    _make_directories(target.parent)
    with source.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(source, target)
    except FileExistsError:
        # NFS may carry out a link, lose the answer, and find its own link at the second attempt.
        if not source.samefile(target):
            return False
    except OSError:
        if target.exists():
            return False
        source.rename(target)
    sync(target.parent)
    return True


def _make_directories(directory: Path) -> None:
    """Make directories durably, the outermost first."""
    if directory.is_dir():
        return
    _make_directories(directory.parent)
    directory.mkdir(exist_ok=True)
    sync(directory.parent)
