"""A lock that a file stands for, which may be removed by whoever holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Keep other processes, and other threads, out while the block runs.

    A killed holder's lock is gone with it. On a file system without locks everyone is let in.

    Args:
        path: The lock's file; it is made if need be.
        wait: Whether to wait for whoever is inside.

    Yields:
        The open file; -1 if someone is inside and ``wait`` is False.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield -1
                return
            except OSError:
                yield descriptor
                return
            if _is_still(path, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file has not been removed, and perhaps made anew, while this process waited."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
