"""Marks of the shards being encoded, for whoever asks how far a store is.

A mark is an empty file ``running/<teacher>/<shard>.<session>.<host>-<pid>``, touched as long as its
worker lives. Marks are information only: nothing waits for one, two workers may mark one shard, and
one that cannot be written stops nobody.
"""

import os
import re
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_prep.files import refuse_link

BEAT_SECONDS = 15.0
"""Seconds between two touches."""

STALE_SECONDS = 120.0
"""Seconds after which a mark that nobody touched is a dead worker's."""

_NAME = re.compile(r"(\d{5,})\..+")
_OWNER = re.compile(r"\d{5,}\.[^.]+\.(.+)-\d+")


def new_session() -> str:
    """Name the marks of one call, of whatever processes it consists.

    Returns:
        A name that no other call has.
    """
    return uuid.uuid4().hex[:12]


@contextmanager
def mark(store: Path, teacher: str, shard: int, session: str) -> Iterator[None]:
    """Mark a shard while the block runs.

    Args:
        store: The store's directory.
        teacher: The teacher's name.
        shard: The shard's number.
        session: Names the call that the block belongs to.
    """
    owner = f"{socket.gethostname()}-{os.getpid()}"
    path = _directory(store, teacher) / f"{shard:05d}.{session}.{owner}"
    over = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, over), daemon=True)
    _touch(path)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join()  # a touch after the removal would bring the mark back
        with suppress(OSError):
            path.unlink()


def running(store: Path, teacher: str) -> frozenset[int]:
    """List the shards that live workers have marked.

    Args:
        store: The store's directory.
        teacher: The teacher's name.

    Returns:
        Their numbers.
    """
    return frozenset(
        int(name[1])
        for path, age in _marks(store, teacher)
        if age < STALE_SECONDS and (name := _NAME.fullmatch(path.name))
    )


def workers(store: Path, teacher: str) -> dict[str, int]:
    """Say on which machines live workers are.

    Args:
        store: The store's directory.
        teacher: The teacher's name.

    Returns:
        How many shards each machine has marked, in order of the machines' names.
    """
    hosts = Counter(
        owner[1]
        for path, age in _marks(store, teacher)
        if age < STALE_SECONDS and (owner := _OWNER.fullmatch(path.name))
    )
    return dict(sorted(hosts.items()))


def sweep(store: Path, teacher: str, session: str) -> None:
    """Remove the marks of dead workers, and those of a call that is over.

    Args:
        store: The store's directory.
        teacher: The teacher's name.
        session: Names the call.
    """
    for path, age in _marks(store, teacher):
        if _NAME.fullmatch(path.name) and (age >= STALE_SECONDS or f".{session}." in path.name):
            with suppress(OSError):
                path.unlink()


def _directory(store: Path, teacher: str) -> Path:
    """Where a teacher's marks are; a link there could have files removed elsewhere."""
    directory = store / "running" / teacher
    refuse_link(directory.parent)
    refuse_link(directory)
    return directory


def _marks(store: Path, teacher: str) -> Iterator[tuple[Path, float]]:
    """Every mark with the seconds since it was touched."""
    directory = _directory(store, teacher)
    with suppress(OSError):
        for path in list(directory.iterdir()):
            with suppress(OSError):
                yield path, time.time() - path.stat().st_mtime


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        _touch(path)


def _touch(path: Path) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
