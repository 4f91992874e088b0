"""Reading vectors from mapped shards: no work per row, and one pass from stored row to target.

What is read is checked all the way: the commit record by its own checksum, the file's size and
index when it is mapped, and each chunk against the record when it is first touched.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.commits import CommitLog
from teacher_cache.layout import ShardLayout
from teacher_cache.manifest import Commit, TeacherEntry
from teacher_cache.mapped_shard import MappedShard, map_shard, mapped_bytes
from teacher_cache.shard_file import FileIdentity, ShardShape, require_committed
from teacher_cache.shard_source import LocalShards, ShardSource
from teacher_cache.storage import Storage, Stored, columns_of

T = TypeVar("T")

_MOST_ATTEMPTS: Final = 3
"""How often a shard's file is asked for that is gone before it is mapped."""

_ROWS_AT_A_TIME = 128
"""Rows gathered before they are converted."""

_MOST_RESIDENT = 256 * 2**20
"""Bytes of mapped shards after which their pages leave this process; the page cache keeps them."""

_SHARDS_AT_A_TIME = 32
"""Shards that are read between two looks at how much is mapped."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """Which chunks of a file have been checked, against which checksums."""

    identity: FileIdentity
    checksums: Sequence[int]
    checked: npt.NDArray[np.bool_]


class ShardReader:
    """Reads rows of any teacher, mapping shards as they are asked for."""

    def __init__(
        self,
        layout: ShardLayout,
        commits: CommitLog,
        source: ShardSource,
        storage: Callable[[TeacherEntry], Storage],
    ) -> None:
        """Point at a store.

        Args:
            layout: Its shards.
            commits: Says which of them exist.
            source: Where their files are.
            storage: How each teacher's vectors are kept.
        """
        self._layout = layout
        self._commits = commits
        self._source = source
        self._storage = storage
        self._mapped: OrderedDict[tuple[str, int], MappedShard] = OrderedDict()
        self._checked: dict[tuple[str, int], _Checked] = {}
        self._resident = 0
        self._lock = Lock()

    def shard(self, entry: TeacherEntry, shard: int) -> MappedShard:
        """Map a committed shard.

        Args:
            entry: The teacher.
            shard: The shard's number.

        Returns:
            Its rows.

        Raises:
            PipeError: It is not committed, or is damaged.
        """
        key = (entry.fingerprint, shard)
        mapped = self._mapped.get(key)
        if mapped is None:
            mapped = self._map(entry, shard)
        with self._lock:
            self._mapped[key] = mapped
            self._mapped.move_to_end(key)
            if len(self._mapped) > self._source.most_mapped:
                self._mapped.popitem(last=False)
        return mapped

    def _map(self, entry: TeacherEntry, shard: int) -> MappedShard:
        commit = self._commits.read(entry, shard)
        if commit is None:
            name, rows = entry.config.name, self._layout.range_of(shard)
            raise PipeError(
                f"found no vectors of {name} for rows {rows.start} to {rows.stop - 1} (shard "
                f"{shard}), expected a committed shard; run `pipe teach --teacher {name}`."
            )
        mapped = self._map_file(entry, commit)
        # What was checked before it was unmapped need not be read again.
        before = self._checked.get((entry.fingerprint, shard))
        if before and (before.identity, before.checksums) == (mapped.identity, mapped.checksums):
            mapped.checked = before.checked
        self._checked[entry.fingerprint, shard] = _Checked(
            mapped.identity, mapped.checksums, mapped.checked
        )
        return mapped

    def _map_file(self, entry: TeacherEntry, commit: Commit) -> MappedShard:
        """Map a shard's file; one that a cache has let go of is asked for again."""
        shape = self.shape(entry, commit.shard)
        for _ in range(_MOST_ATTEMPTS - 1):
            path = self._source.path(entry, commit)
            try:
                return map_shard(path, shape, commit.chunks_crc32c)
            except PipeError:
                if not self._source.discard(entry, commit):
                    raise
        return map_shard(self._source.path(entry, commit), shape, commit.chunks_crc32c)

    def _read(self, entry: TeacherEntry, shard: int, use: Callable[[MappedShard], T]) -> T:
        """Read of a shard; if a chunk is damaged and the source has another file, of that one."""
        mapped = self.shard(entry, shard)
        try:
            found = use(mapped)
        except PipeError:
            commit = self._commits.read(entry, shard)
            if commit is None or not self._source.discard(entry, commit):
                raise
            self._forget(entry, shard)
            mapped = self.shard(entry, shard)
            found = use(mapped)
        return found

    def _forget(self, entry: TeacherEntry, shard: int) -> None:
        key = (entry.fingerprint, shard)
        with self._lock:
            self._mapped.pop(key, None)
            self._checked.pop(key, None)

    def check(self, entry: TeacherEntry, shard: int, *, chunks: bool) -> None:
        """Check a committed shard: its record, its file's size and index, its checksums.

        Args:
            entry: The teacher.
            shard: The shard's number.
            chunks: Whether to read every chunk, so that later reads need not check any; else the
                checksums in the file are compared with the record's.

        Raises:
            PipeError: It is not committed, or is damaged.
        """
        self._forget(entry, shard)
        if chunks:
            with self._bounded():
                self._read(entry, shard, lambda mapped: mapped.check())
        else:
            mapped = self.shard(entry, shard)
            require_committed(mapped.path, mapped.shape, mapped.checksums)

    def shape(self, entry: TeacherEntry, shard: int) -> ShardShape:
        """Say what a shard's file holds.

        Args:
            entry: The teacher.
            shard: The shard's number.

        Returns:
            Its rows, columns and type.

        Raises:
            PipeError: There is no such shard.
        """
        rows = len(self._layout.range_of(shard))
        return ShardShape(rows, self._layout.rows_per_shard, *columns_of(entry))

    def expect(self, entries: Sequence[TeacherEntry], rows: npt.NDArray[np.integer]) -> None:
        """Tell the source which shards will be read next.

        Args:
            entries: The teachers.
            rows: The rows, in the order in which they will be asked for.

        Raises:
            PipeError: A row does not exist, or a commit is damaged.
        """
        if isinstance(self._source, LocalShards):
            return  # nothing to fetch
        shards = self._layout.shard_of(np.asarray(rows))
        _, first = np.unique(shards, return_index=True)
        wanted = [
            (entry, commit)
            for shard in shards[np.sort(first)].tolist()
            for entry in entries
            if (entry.fingerprint, shard) not in self._mapped
            and (commit := self._commits.read(entry, shard)) is not None
        ]
        if wanted:
            self._source.expect(wanted)

    def stored(self, entry: TeacherEntry, rows: npt.NDArray[np.integer]) -> Stored:
        """Read a teacher's rows as they are stored.

        Args:
            entry: The teacher.
            rows: Row numbers in any order, shape (n,).

        Returns:
            (n, columns) of the storage's type; if the rows run without gaps within 64, a read-only
            view of the file.

        Raises:
            PipeError: A row's shard is not committed, or is damaged.
        """
        groups = [*self._layout.by_shard(rows)]
        if len(groups) == 1:
            shard, places, _ = groups[0]
            with self._bounded():
                return self._read(entry, shard, partial(MappedShard.take, places=places))
        storage = self._storage(entry)
        out: Stored = np.empty((len(rows), storage.columns), storage.dtype)
        for first in range(0, len(groups), _SHARDS_AT_A_TIME):
            with self._bounded():
                for shard, places, positions in groups[first : first + _SHARDS_AT_A_TIME]:
                    take = partial(MappedShard.take, places=places)
                    out[positions] = self._read(entry, shard, take)
        return out

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Count what the block maps in, and let mapped pages go when they are many.

        The kernel maps more around a row than the row, by its own rules; so what has come is looked
        up. What others in this process map is theirs.
        """
        before = mapped_bytes()
        yield
        self._resident += max(mapped_bytes() - before, 0)
        if self._resident > _MOST_RESIDENT:
            with self._lock:
                self._resident = 0
                for mapped in self._mapped.values():
                    if mapped.touched:
                        mapped.release()

    def scaled(
        self,
        entries: list[TeacherEntry],
        scales: list[float],
        rows: npt.NDArray[np.integer],
        out: npt.NDArray[np.float32],
    ) -> None:
        """Read several teachers' vectors side by side, each times its scale.

        Args:
            entries: The teachers, in the order of the columns.
            scales: One factor per teacher.
            rows: Row numbers in any order, shape (n,).
            out: Where to put them, (n, sum of dims) float32.

        Raises:
            PipeError: A row's shard is not committed, or is damaged.
        """
        for first in range(0, len(rows), _ROWS_AT_A_TIME):
            block = slice(first, min(first + _ROWS_AT_A_TIME, len(rows)))
            column = 0
            for entry, scale in zip(entries, scales, strict=True):
                columns = slice(column, column + entry.config.dim)
                stored = self.stored(entry, rows[block])
                self._storage(entry).unpack(stored, scale, out[block, columns])
                column = columns.stop
