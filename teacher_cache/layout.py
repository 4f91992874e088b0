"""Which rows stand in which shard: arithmetic without files."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError

Selection: TypeAlias = slice | npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """The division of a corpus's rows into shards of equal size; the last may be short.

    Attributes:
        rows: Rows in all.
        rows_per_shard: Rows of every shard but the last.
    """

    rows: int
    rows_per_shard: int

    @property
    def num_shards(self) -> int:
        """Shards in all, the short last one included."""
        return -(-self.rows // self.rows_per_shard)

    def range_of(self, shard: int) -> range:
        """Rows of one shard.

        Args:
            shard: Its number.

        Returns:
            The consecutive row numbers that it holds.

        Raises:
            PipeError: There is no such shard.

        >>> ShardLayout(rows=150, rows_per_shard=64).range_of(2)
        range(128, 150)
        """
        if not 0 <= shard < self.num_shards:
            raise PipeError(
                f"found shard {shard}, expected 0 to {self.num_shards - 1}; "
                f"the corpus has {self.rows} rows in shards of {self.rows_per_shard}."
            )
        first = shard * self.rows_per_shard
        return range(first, min(first + self.rows_per_shard, self.rows))

    def shard_of(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Shards that hold some rows.

        Args:
            rows: Row numbers, shape (n,).

        Returns:
            The shard of each, shape (n,), int64.

        Raises:
            PipeError: A row does not exist, or is no whole number.
        """
        if rows.size and rows.dtype.kind not in "iu":
            raise PipeError(
                f"found rows of type {rows.dtype}, expected whole numbers; turn a mask into them "
                "with numpy.flatnonzero."
            )
        if rows.size and (rows.min() < 0 or rows.max() >= self.rows):
            wrong = int(rows[(rows < 0) | (rows >= self.rows)][0])
            raise PipeError(f"found row {wrong}, expected 0 to {self.rows - 1}; ask for those.")
        return rows.astype(np.int64, copy=False) // self.rows_per_shard

    def missing(self, done: Collection[int]) -> list[int]:
        """Shards that are not done, in order.

        Args:
            done: Numbers of the shards that are.

        Returns:
            The others' numbers, ascending.
        """
        return [shard for shard in range(self.num_shards) if shard not in done]

    def by_shard(self, rows: npt.NDArray[np.integer]) -> Iterator[tuple[int, Selection, Selection]]:
        """Group rows by shard, in vectorised steps: one step per shard, none per row.

        Args:
            rows: Row numbers in any order, repetitions allowed, shape (n,).

        Yields:
            A shard, the places of its rows within it, and their positions in ``rows``. Places and
            positions are slices where they run without gaps, so that they are read in one piece.

        Raises:
            PipeError: A row does not exist.
        """
        shards = self.shard_of(rows)
        if not rows.size:
            return
        places = rows - shards * self.rows_per_shard
        if shards[0] == shards[-1] and (shards == shards[0]).all():
            yield int(shards[0]), _as_slice(places), slice(0, len(rows))
            return
        order = np.argsort(shards, kind="stable")
        grouped = shards[order]
        starts = np.flatnonzero(np.diff(grouped, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            positions = order[start:stop]
            yield int(grouped[start]), _as_slice(places[positions]), _as_slice(positions)


def _as_slice(indices: npt.NDArray[np.int64]) -> Selection:
    first, last = int(indices[0]), int(indices[-1])
    if last - first == len(indices) - 1 and (np.diff(indices) == 1).all():
        return slice(first, last + 1)
    return indices
