"""Reading vectors from mapped shards: no work per row, and one pass from stored row to target.

What is read is checked all the way: the commit record by its own checksum, the file's index and its
chunks' checksums against the record when it is mapped, and each chunk when it is first touched.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.commits import CommitLog
from teacher_cache.layout import ShardLayout
from teacher_cache.manifest import Commit, TeacherEntry
from teacher_cache.shard_file import FileIdentity, MappedShard, ShardShape, map_shard
from teacher_cache.shard_source import ShardSource
from teacher_cache.storage import Storage, Stored, columns_of

_ROWS_AT_A_TIME = 512
"""Rows gathered before they are converted."""

_MOST_RESIDENT = 256 * 2**20
"""Bytes of mapped files after which their pages leave this process, though not the page cache."""


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
        self._checked: dict[tuple[str, int], tuple[FileIdentity, npt.NDArray[np.bool_]]] = {}
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
        mapped = map_shard(self._source.path(entry, commit), self.shape(entry, shard))
        require_committed(mapped, commit)
        # What was checked before it was unmapped need not be read again.
        identity, checked = self._checked.get((entry.fingerprint, shard), (None, mapped.checked))
        if identity == mapped.identity:
            mapped.checked = checked
        self._checked[entry.fingerprint, shard] = (mapped.identity, mapped.checked)
        return mapped

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

    def forget(self) -> None:
        """Unmap everything, so that what is read next is looked at afresh."""
        with self._lock:
            self._mapped.clear()
            self._checked.clear()
            self._resident = 0

    def expect(self, entries: Sequence[TeacherEntry], rows: npt.NDArray[np.integer]) -> None:
        """Tell the source which shards will be read next.

        Args:
            entries: The teachers.
            rows: The rows, in the order in which they will be asked for.

        Raises:
            PipeError: A row does not exist, or a commit is damaged.
        """
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
        storage = self._storage(entry)
        out: npt.NDArray[Any] | None = None
        for shard, places, positions in self._layout.by_shard(rows):
            mapped = self.shard(entry, shard)
            before = mapped.resident
            taken = mapped.take(places)
            self._touched(mapped.resident - before)
            if len(taken) == len(rows):
                return taken
            if out is None:
                out = np.empty((len(rows), storage.columns), storage.dtype)
            out[positions] = taken
        return np.empty((0, storage.columns), storage.dtype) if out is None else out

    def _touched(self, size: int) -> None:
        """Count the bytes that have come into memory, and let them go when they are many."""
        self._resident += size
        if self._resident > _MOST_RESIDENT:
            with self._lock:
                self._resident = 0
                for mapped in self._mapped.values():
                    if mapped.resident:
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


def require_committed(mapped: MappedShard, commit: Commit) -> None:
    """Check that a file is the one that a commit describes, by its chunks' checksums.

    Args:
        mapped: The file.
        commit: The record.

    Raises:
        PipeError: It is another shard's, another teacher's, or an older one.
    """
    if mapped.chunks_crc32c() != commit.chunks_crc32c:
        raise PipeError(
            f"found other vectors in {mapped.path} than those that were committed as shard "
            f"{commit.shard} of {commit.teacher}; the file is another shard's or has changed: "
            "`pipe store repair` sets it aside, and `pipe teach` encodes it again."
        )


def target_scales(teachers: int, weights: Sequence[float] | None = None) -> list[float]:
    """Factors that make unit vectors side by side one unit vector: sqrt(w_k / sum of w).

    Args:
        teachers: Their number.
        weights: One positive number per teacher; equal if None.

    Returns:
        One factor per teacher; their squares sum to 1.

    Raises:
        PipeError: No teacher, or a weight is missing or not positive.

    >>> target_scales(4)
    [0.5, 0.5, 0.5, 0.5]
    """
    shares = list(weights) if weights is not None else [1.0] * teachers
    if not teachers or len(shares) != teachers or not all(share > 0 for share in shares):
        raise PipeError(
            f"found {teachers} teachers and weights {shares}, expected at least one teacher and a "
            "positive weight for each; mend the teachers in the recipe."
        )
    return [math.sqrt(share / sum(shares)) for share in shares]
