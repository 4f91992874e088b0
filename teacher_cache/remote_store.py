"""Reading a store at a URL: its mirror, opened as a store whose shards come through the cache."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from data_prep.errors import PipeError
from teacher_cache.cached_shards import CachedShards
from teacher_cache.file_lock import locked
from teacher_cache.mirror import forget, mirror
from teacher_cache.place import Place
from teacher_cache.store import TeacherStore

if TYPE_CHECKING:
    from data_prep.corpus import Corpus

DEFAULT_LIMIT: Final = 200 * 10**9
"""Bytes of a cache unless the user says otherwise."""


def default_cache() -> Path:
    """Say where the cache lies unless the user says otherwise.

    Returns:
        ``PIPE_CACHE`` if that is set, else a directory below ``XDG_CACHE_HOME`` or ``~/.cache``.
    """
    named = os.environ.get("PIPE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named or f"{base}/jasper-distill").expanduser()


def open_remote(
    place: Place, cache: Path, limit: int, corpus: "Corpus | None" = None
) -> TeacherStore:
    """Open a store at a URL for reading; only what is new of its small files is fetched.

    Args:
        place: Where it lies.
        cache: The cache's directory, which any number of stores and processes share.
        limit: Bytes that the shards' files may take there.
        corpus: The corpus that the store should belong to, if that is at hand.

    Returns:
        The store.

    Raises:
        PipeError: There is no store, it is damaged or another corpus's, or the server does not
            answer.
    """
    files = place.store
    name = hashlib.sha256(files.root.encode()).hexdigest()[:16]
    directory = cache / "stores" / name
    directory.mkdir(parents=True, exist_ok=True)
    with locked(cache / "stores" / f"{name}.lock"):
        mirror(files, directory)
        shards = CachedShards(files, directory, cache, limit)
        try:
            return TeacherStore.open(directory, corpus, shards=shards)
        except PipeError:
            # What is wrong may be the mirror alone: a file that was damaged here.
            forget(directory)
            mirror(files, directory)
    return TeacherStore.open(directory, corpus, shards=shards)
