"""A bounded cache of a remote store's shards, shared by any number of processes.

A file gets its name in ``shards/`` only when all of it has been checked against its commit, so what
a killed process leaves is never taken for a shard. ``arriving/`` holds, for each download, a lock
file as long as the shard will be, which keeps the room, and the bytes so far. A file that is
evicted while it is mapped stays readable to whoever has mapped it.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Final

from data_prep.errors import PipeError
from data_prep.files import sync
from teacher_cache.file_lock import locked
from teacher_cache.manifest import Commit, TeacherEntry
from teacher_cache.mapped_shard import map_shard
from teacher_cache.place import shard_file
from teacher_cache.remote_files import RemoteFiles
from teacher_cache.shard_file import ShardShape, require_committed
from teacher_cache.shard_source import MOST_MAPPED
from teacher_cache.store import TeacherStore
from teacher_cache.views import fetch_checked

_AHEAD: Final = 3
"""Downloads ahead of the reader at a time."""

_JUST_USED: Final = 5.0
"""Seconds for which a file that another process uses is not evicted: it may not be mapped yet."""

_PAUSE: Final = 0.05
"""Seconds between two looks for room while other processes' downloads take it."""


class CachedShards:
    """Fetches shards as they are asked for, and ahead of that; a ``ShardSource``.

    Attributes:
        files: The remote store's files.
        mirror: The directory of its mirror.
        cache: The cache's directory.
        limit: Bytes that the shards' files may take, those under way included.
    """

    def __init__(self, files: RemoteFiles, mirror: Path, cache: Path, limit: int) -> None:
        """Point at a store and a cache; what killed processes left in the cache is removed.

        Args:
            files: The remote store's files.
            mirror: The directory of its mirror.
            cache: The cache's directory; it is made if need be.
            limit: Bytes that the shards' files may take.
        """
        self.files = files
        self.mirror = mirror
        self.cache = cache
        self.limit = limit
        self._store: TeacherStore | None = None
        self._seen: set[Path] = set()
        self._wanted: list[tuple[TeacherEntry, Commit]] = []
        self._readers = 0
        self._lock = Lock()
        for name in ("shards", "arriving"):
            (cache / name).mkdir(parents=True, exist_ok=True)
        self._sweep()

    def __reduce__(self) -> tuple[object, tuple[RemoteFiles, Path, Path, int]]:
        return (type(self), (self.files, self.mirror, self.cache, self.limit))

    @property
    def most_mapped(self) -> int:
        """As ``ShardSource``: about as many as the limit holds."""
        store = self._checker()
        storages = [store.storage(name) for name in store.teachers]
        row_bytes = sum(storage.columns * storage.dtype.itemsize for storage in storages)
        of_all = max(self.limit // max(row_bytes * store.layout.rows_per_shard, 1), 1)
        return min(of_all * len(storages), MOST_MAPPED)

    def path(self, entry: TeacherEntry, commit: Commit) -> Path:
        """As ``ShardSource``.

        Raises:
            PipeError: The shard cannot be fetched, is not what was committed, or is larger than
                the cache.
        """
        path, shape = self._place(entry, commit)
        # Evicted between fetching and using, it is fetched again.
        while not (self._is_sound(path, shape, commit) and self._use(path)):
            self._fetch(entry, commit, patient=True)
        return path

    def discard(self, entry: TeacherEntry, commit: Commit) -> bool:
        """As ``ShardSource``: the shard is downloaded again when it is asked for."""
        path, _ = self._place(entry, commit)
        path.unlink(missing_ok=True)
        self._seen.discard(path)
        return True

    def expect(self, wanted: Sequence[tuple[TeacherEntry, Commit]]) -> None:
        """As ``ShardSource``: as many as have room together are fetched, the rest is not heard."""
        room = self.limit
        heard = []
        for entry, commit in wanted:
            path, shape = self._place(entry, commit)
            room -= shape.file_bytes
            if room < 0:
                break
            if not self._use(path):
                heard.append((entry, commit))
        with self._lock:
            self._wanted = heard
            more = max(min(_AHEAD, len(heard)) - self._readers, 0)
            self._readers += more
        for _ in range(more):
            Thread(target=self._read_ahead, name="read-ahead", daemon=True).start()

    def _read_ahead(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._readers -= 1
                    return
                entry, commit = self._wanted.pop(0)
            # What goes wrong is met again, and told, when the shard itself is asked for.
            with suppress(PipeError, OSError):
                self._fetch(entry, commit, patient=False)

    def _place(self, entry: TeacherEntry, commit: Commit) -> tuple[Path, ShardShape]:
        """Where a shard's file lies in the cache, and what it holds.

        Its name is its content's, so that a shard of two stores is there once and a changed one is
        never mistaken for the old.
        """
        shape = self._checker().shape(entry.config.name, commit.shard)
        name = f"{commit.vectors_digest}-{shape.rows_per_shard}x{shape.columns}"
        return self.cache / "shards" / name, shape

    def _checker(self) -> TeacherStore:
        """The mirror as a store without shards, which knows what a shard's file must be."""
        if self._store is None:
            self._store = TeacherStore.open(self.mirror, check_commits=False)
        return self._store

    def _is_sound(self, path: Path, shape: ShardShape, commit: Commit) -> bool:
        """Whether a file is there and, if this process has not seen it yet, looks whole."""
        if path in self._seen:
            return path.exists()
        if not path.exists():
            return False
        try:
            map_shard(path, shape, commit.chunks_crc32c)
            require_committed(path, shape, commit.chunks_crc32c)
        except PipeError:
            path.unlink(missing_ok=True)
            return False
        self._seen.add(path)
        return True

    def _use(self, path: Path) -> bool:
        """Mark a file as used now; False if it has been evicted."""
        with locked(self.cache / ".lock"):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
            return True

    def _fetch(self, entry: TeacherEntry, commit: Commit, *, patient: bool) -> None:
        """Fetch a shard, unless it is there; without patience only if there is room now."""
        path, shape = self._place(entry, commit)
        if shape.file_bytes > self.limit:
            raise PipeError(
                f"found a cache of {self.limit:,} bytes, expected room for a shard of "
                f"{commit.teacher}, which has {shape.file_bytes:,}; set a larger --cache-size."
            )
        lock = self.cache / "arriving" / f"{path.name}.lock"
        with locked(lock) as descriptor:
            try:
                if self._is_sound(path, shape, commit):
                    return
                while not self._reserve(descriptor, shape.file_bytes):
                    if not patient:
                        return
                    time.sleep(_PAUSE)
                    self._sweep()
                arriving = lock.with_suffix(".part")
                name = shard_file(commit.teacher, commit.shard)
                fetch_checked(self.files, name, arriving, self._checker(), commit)
                with locked(self.cache / ".lock"):
                    # `fetch_checked` has made the bytes durable.
                    arriving.replace(path)
                    os.truncate(descriptor, 0)
                sync(path.parent)
                self._seen.add(path)
            finally:
                _remove_arriving(lock)

    def _reserve(self, descriptor: int, wanted: int) -> bool:
        """Keep room for a download, by evicting what was used least recently; False if in vain."""
        with locked(self.cache / ".lock"):
            taken = sum(_size(path) for path in (self.cache / "arriving").glob("*.lock"))
            files = sorted(_by_age(self.cache / "shards"))
            taken += sum(size for _, size, _ in files)
            for used, size, path in files:
                if taken + wanted <= self.limit:
                    break
                if time.time() - used > _JUST_USED or path in self._seen:
                    path.unlink(missing_ok=True)
                    taken -= size
            if taken + wanted > self.limit:
                return False
            os.truncate(descriptor, wanted)
            return True

    def _sweep(self) -> None:
        """Remove the downloads of processes that were killed."""
        for lock in (self.cache / "arriving").glob("*.lock"):
            with locked(lock, wait=False) as descriptor:
                if descriptor >= 0:
                    _remove_arriving(lock)


def _remove_arriving(lock: Path) -> None:
    """Remove what is left of a download; the caller has its lock."""
    for path in (lock.with_suffix(".part"), *lock.parent.glob(f".{lock.stem}.part.*")):
        path.unlink(missing_ok=True)
    lock.unlink(missing_ok=True)


def _by_age(directory: Path) -> list[tuple[float, int, Path]]:
    """When each file was last used, its size, and the file."""
    found = []
    for path in directory.iterdir():
        with suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
