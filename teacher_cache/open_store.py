"""Opening the store of a training: as it lies on this machine, or through the cache."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from teacher_cache.place import Place
from teacher_cache.remote_store import DEFAULT_LIMIT, default_cache, open_remote
from teacher_cache.store import TeacherStore

if TYPE_CHECKING:
    from data_prep.corpus import Corpus


@dataclass(frozen=True)
class RemoteStore:
    """A store that is read through a cache; goes to worker processes by pickle.

    Attributes:
        place: Where it lies.
        cache: The cache's directory.
        limit: Bytes that the shards' files may take there.
    """

    place: Place
    cache: Path = field(default_factory=default_cache)
    limit: int = DEFAULT_LIMIT


def open_store(store: Path | RemoteStore, corpus: "Corpus | None" = None) -> TeacherStore:
    """Open a store for reading.

    Args:
        store: Its directory, or where it lies and the cache for it.
        corpus: The corpus that it should belong to, if that is at hand.

    Returns:
        The store.

    Raises:
        PipeError: There is none, it is damaged or another corpus's, or its server does not answer.
    """
    if isinstance(store, RemoteStore):
        return open_remote(store.place, store.cache, store.limit, corpus)
    return TeacherStore.open(store, corpus)
