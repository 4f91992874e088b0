"""The rows that a stage draws from: ranges of a corpus, seen as positions 0 to n - 1."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from teacher_cache.layout import ShardLayout

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class RowSet:
    """Ascending rows without repetition; position p is the p-th of them.

    Ranges that touch are one range, so that equal sets of rows are equal objects, however they
    were put together.

    Attributes:
        ranges: First row and row after the last of each range, ascending and apart.
    """

    ranges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: One is empty, or begins before the one in front of it has ended.
        """
        end = -1
        for first, stop in self.ranges:
            if first <= end or stop <= first:
                raise ValueError(f"ranges {self.ranges} are not ascending, apart and non-empty")
            end = stop

    @classmethod
    def of_range(cls, first_row: int, end_row: int) -> Self:
        """All rows from one to before another.

        Args:
            first_row: The first.
            end_row: The row after the last.
        """
        return cls._joined([(first_row, end_row)])

    @classmethod
    def of_shards(cls, layout: ShardLayout, shards: Collection[int], first_row: int = 0) -> Self:
        """The rows of some shards.

        Args:
            layout: Which rows a shard holds.
            shards: The shards' numbers.
            first_row: Rows before this one are left out: a corpus holds out its first rows.

        Raises:
            PipeError: There is no such shard.

        >>> RowSet.of_shards(ShardLayout(rows=100, rows_per_shard=10), [4, 0, 1], first_row=5)
        RowSet(ranges=((5, 20), (40, 50)))
        """
        rows = (layout.range_of(shard) for shard in sorted(set(shards)))
        return cls._joined((max(each.start, first_row), each.stop) for each in rows)

    @classmethod
    def _joined(cls, ranges: Iterable[tuple[int, int]]) -> Self:
        joined: list[tuple[int, int]] = []
        for first, stop in ranges:
            if first >= stop:
                continue
            if joined and joined[-1][1] == first:
                joined[-1] = (joined[-1][0], stop)
            else:
                joined.append((first, stop))
        return cls(tuple(joined))

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._ends[-1]) if self.ranges else 0

    def take(self, positions: Rows) -> Rows:
        """The rows at some positions.

        Args:
            positions: 0 to n - 1, in any order, repeated or not; any shape.

        Returns:
            Row numbers, int64, of the same shape.

        Raises:
            IndexError: A position is outside the set.
        """
        if positions.size and (positions.min() < 0 or positions.max() >= len(self)):
            raise IndexError(f"positions {positions.min()}-{positions.max()} of {len(self)} rows")
        if len(self.ranges) == 1:
            return positions + self.ranges[0][0]
        return positions + self._shifts[np.searchsorted(self._ends, positions, side="right")]

    def shard_pieces(self, layout: ShardLayout) -> tuple[Rows, Rows]:
        """Where the positions pass from one shard to the next.

        Args:
            layout: Which rows a shard holds.

        Returns:
            The shards that hold a row of the set, ascending, and the first position of each.
        """
        size = layout.rows_per_shard
        shards, positions = [], []
        for (first, stop), end in zip(self.ranges, self._ends, strict=True):
            touched = np.arange(first // size, (stop - 1) // size + 1, dtype=np.int64)
            shards.append(touched)
            positions.append(np.maximum(touched * size, first) + (end - stop))
        if not shards:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        # Two ranges may lie in one shard.
        numbers, firsts = np.unique(np.concatenate(shards), return_index=True)
        return numbers, np.concatenate(positions)[firsts]

    @cached_property
    def _ends(self) -> Rows:
        """The position after each range's last row."""
        return np.cumsum([stop - first for first, stop in self.ranges], dtype=np.int64)

    @cached_property
    def _shifts(self) -> Rows:
        """What to add to a range's positions to get its rows."""
        stops = np.array([stop for _, stop in self.ranges], dtype=np.int64)
        shifts: Rows = stops - self._ends
        return shifts
