"""Reading vectors from mapped shards: no work per row, and one pass from float16 to float32."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.arrays import shard_path
from teacher_cache.commits import CommitLog
from teacher_cache.layout import ShardLayout
from teacher_cache.manifest import TeacherEntry
from teacher_cache.shard_file import MappedShard, map_shard

_MOST_MAPPED = 256
"""Shards mapped at a time; each holds a file descriptor, of which a process has about 1024."""

_ROWS_AT_A_TIME = 128
"""Rows converted at a time, so that they are still in the processor's cache when they are."""


class ShardReader:
    """Reads rows of any teacher, mapping shards as they are asked for."""

    def __init__(self, vectors: Path, layout: ShardLayout, commits: CommitLog) -> None:
        """Point at the arrays.

        Args:
            vectors: The directory of the Zarr group.
            layout: The store's shards.
            commits: Says which shards exist.
        """
        self._vectors = vectors
        self._layout = layout
        self._commits = commits
        self._mapped: OrderedDict[tuple[str, int], MappedShard] = OrderedDict()
        self._lock = Lock()

    def shard(self, entry: TeacherEntry, shard: int) -> MappedShard:
        """Map a committed shard; its record and its index are checked when it is first mapped.

        Args:
            entry: The teacher.
            shard: The shard's number.

        Returns:
            Its rows.

        Raises:
            PipeError: It is not committed, or is damaged.
        """
        key = (entry.fingerprint, shard)
        with self._lock:
            mapped = self._mapped.get(key)
            if mapped is None:
                mapped = self._map(entry, shard)
                self._mapped[key] = mapped
                if len(self._mapped) > _MOST_MAPPED:
                    self._mapped.popitem(last=False)
            else:
                self._mapped.move_to_end(key)
        return mapped

    def _map(self, entry: TeacherEntry, shard: int) -> MappedShard:
        name = entry.config.name
        rows = self._layout.range_of(shard)
        if self._commits.read(entry, shard) is None:
            raise PipeError(
                f"found no vectors of {name} for rows {rows.start} to {rows.stop - 1} (shard "
                f"{shard}), expected a committed shard; run `pipe teach --teacher {name}`."
            )
        path = shard_path(self._vectors / name, shard)
        return map_shard(path, len(rows), self._layout.rows_per_shard, entry.config.dim)

    def halves(
        self,
        entry: TeacherEntry,
        rows: npt.NDArray[np.integer],
        out: npt.NDArray[np.float16] | None = None,
    ) -> npt.NDArray[np.float16]:
        """Read a teacher's stored vectors.

        Args:
            entry: The teacher.
            rows: Row numbers in any order, shape (n,).
            out: Where to put them, (n, dim) float16.

        Returns:
            (n, dim) float16; if ``out`` is not given and the rows run without gaps in one shard,
            a read-only view of the file.

        Raises:
            PipeError: A row's shard is not committed, or is damaged.
        """
        for shard, places, positions in self._layout.by_shard(rows):
            mapped = self.shard(entry, shard)
            if out is None:
                if isinstance(places, slice) and places.stop - places.start == len(rows):
                    return mapped.take(places)
                out = np.empty((len(rows), entry.config.dim), np.float16)
            if (
                mapped.whole is None
                or isinstance(places, slice)
                or not isinstance(positions, slice)
            ):
                out[positions] = mapped.take(places)
            else:
                # mode="clip" writes straight to `out`; the layout has checked the places.
                np.take(mapped.whole, places, axis=0, out=out[positions], mode="clip")
        return np.empty((0, entry.config.dim), np.float16) if out is None else out

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
                widen(self.halves(entry, rows[block]), scale, out[block, columns])
                column = columns.stop


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


def widen(halves: npt.NDArray[np.float16], scale: float, out: npt.NDArray[np.float32]) -> None:
    """Convert finite float16 to float32 and multiply: ``out = scale * halves``, exactly rounded.

    A float16's exponent and fraction, shifted left by 13 bits, are the float32 that is smaller by
    2**112, subnormal numbers included; multiplying by ``scale * 2**112`` restores and scales at
    once. numpy's own conversion goes number by number and takes four times as long. Infinity and
    NaN have no place in a store and become numbers of at least 65536 times the scale.

    Args:
        halves: Any shape.
        scale: A positive factor.
        out: The same shape.

    >>> import numpy as np
    >>> out = np.empty(3, np.float32)
    >>> widen(np.array([1.0, -0.5, 6e-8], np.float16), 2.0, out)
    >>> out.tolist() == [2.0, -1.0, 2.0**-23]
    True
    """
    bits = out.view(np.int32)
    np.left_shift(halves.view(np.int16), 13, out=bits, dtype=np.int32)
    # The shift has copied the sign into bits 28 to 30 as well; take it out of there.
    np.bitwise_and(bits, np.int32(~0x70000000), out=bits)
    np.multiply(out, np.float32(scale * 2.0**112), out=out)
