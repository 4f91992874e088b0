"""Runs to copy between, and a process that copies or reads, to be killed.

``python -m tests.teacher_cache.places copy SOURCE TARGET`` copies a store and a corpus;
``python -m tests.teacher_cache.places read PLACE CACHE LIMIT`` reads all of it through a cache.
"""

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from data_prep.corpus import Corpus
from teacher_cache.config import TeacherConfig
from teacher_cache.corpus_copy import copy_corpus
from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.moving import Moved, Selection, copy_stores
from teacher_cache.open_store import RemoteStore, open_store
from teacher_cache.place import Place
from teacher_cache.store import TeacherStore


def quiet(line: str) -> None:
    """Take a report and say nothing."""


def fill_shards(
    directory: Path,
    corpus: Corpus,
    config: TeacherConfig,
    shards: Iterable[int],
    *,
    workers: int = 1,
    noise: float = 0.0,
) -> TeacherStore:
    """Write some shards of a teacher, several workers at a time."""
    store = TeacherStore.create(directory, corpus)
    store.add_teacher(config)

    def write(shard: int) -> None:
        vectors = DummyEncoder(config).encode(*corpus.texts(shard))
        vectors += noise * np.random.default_rng(shard).standard_normal(vectors.shape, np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        store.write_shard(config.name, shard, vectors, corpus.text_digest(shard))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(write, shards))
    return store


def copy(sources: list[str | Path], target: str | Path, **selection: object) -> Moved:
    """Copy stores into one."""
    places = [Place.of(str(source)) for source in sources]
    wanted = Selection(**selection)  # type: ignore[arg-type]
    return copy_stores(places, Place.of(str(target)), wanted, 4, quiet)


def commit_digests(store: TeacherStore) -> dict[tuple[str, int], str]:
    """The digest of every committed shard."""
    return {
        (name, shard): commit.vectors_digest
        for name in store.teachers
        for shard in store.committed(name)
        if (commit := store.commit(name, shard)) is not None
    }


def main() -> None:
    """Say that all is loaded, then do it."""
    what, place, other, *rest = sys.argv[1:]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if what == "copy":
        source, target = Place.of(place), Place.of(other)
        copy_stores([source], target, Selection(), 4, quiet, lambda: None)
        copy_corpus(source, target, 4)
    else:
        store = open_store(RemoteStore(Place.of(place), Path(other), int(rest[0])))
        rows = np.random.default_rng(0).permutation(store.layout.rows)
        store.expect(rows)
        store.read(rows)


if __name__ == "__main__":
    main()
