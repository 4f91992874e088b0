"""The training order: a pure function of seed, epoch and step, and of the rows drawn from.

Same seed and same row set: the same batches, on any cluster, with any number of ranks and readers,
and wherever a stage was interrupted. The order permutes positions in the row set, so it knows
nothing of shards that are not in the set, nor of how the set came about.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import PipeError
from student.row_set import Rows, RowSet

Positions = NDArray[np.int64]

# First words of the seeds, so that the two kinds of permutation never share a stream.
_BLOCKS, _ROWS = 1, 2


@dataclass(frozen=True)
class TrainingOrder:
    """Which rows each step sees, the same for any number of ranks and readers.

    Positions of the row set lie in blocks that are read together. Every epoch permutes the blocks;
    within a window of blocks it permutes the positions. A row comes at most once in an epoch; the
    few rows that do not fill a last batch are others in every epoch.

    Attributes:
        rows: The rows to draw from.
        batch_size: Rows of a step, over all ranks.
        seed: Decides, with the epoch, every permutation.
        block_rows: Rows in a block.
        window_blocks: Blocks in a window.
    """

    rows: RowSet
    batch_size: int
    seed: tuple[int, ...]
    block_rows: int = 64
    window_blocks: int = 128

    def __post_init__(self) -> None:
        """Check that there is at least one step.

        Raises:
            PipeError: There are fewer training rows than a batch takes.
        """
        if self.steps_per_epoch < 1:
            raise PipeError(
                f"there are {len(self.rows)} training rows and a batch takes {self.batch_size}; "
                "lower the stage's batch_size or add texts to the corpus; with `--rows available`, "
                "wait for more shards."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return len(self.rows) // self.batch_size

    @property
    def steps_per_window(self) -> int:
        """About how many steps a window lasts; at least 1."""
        return max(1, self.block_rows * self.window_blocks // self.batch_size)

    def batch(self, step: int) -> Rows:
        """The rows of a step.

        Args:
            step: Counted from 0, through all epochs.

        Returns:
            Row numbers, (batch_size,), int64.
        """
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        begin = step_in_epoch * self.batch_size
        end = begin + self.batch_size
        plan = _epoch_plan(self, epoch)
        first, last = plan.windows(begin, end)
        positions = np.concatenate(
            [_window_positions(self, epoch, window) for window in range(first, last + 1)]
        )
        offset = begin - plan.first_of(first)
        return self.rows.take(positions[offset : offset + self.batch_size])

    def batches(self, start: int, end: int) -> Iterator[Rows]:
        """The rows of consecutive steps.

        Args:
            start: The first step.
            end: The step after the last.

        Yields:
            What ``batch`` returns for each.
        """
        for step in range(start, end):
            yield self.batch(step)

    def drawn(self, start: int, end: int) -> Iterator[tuple[Positions, Positions]]:
        """All positions that consecutive steps draw, without going through the steps.

        Args:
            start: The first step.
            end: The step after the last.

        Yields:
            For each epoch, ranges of positions that together are what its steps draw: their first
            positions and the positions after their last. Windows that are drawn whole are whole
            blocks; of the others every position is a range.
        """
        step = start
        while step < end:
            epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
            steps = min(end - step, self.steps_per_epoch - step_in_epoch)
            begin = step_in_epoch * self.batch_size
            yield self._drawn_in_epoch(epoch, begin, begin + steps * self.batch_size)
            step += steps

    def _drawn_in_epoch(self, epoch: int, begin: int, end: int) -> tuple[Positions, Positions]:
        plan = _epoch_plan(self, epoch)
        first, last = plan.windows(begin, end)
        edges = [
            window
            for window in sorted({first, last})
            if begin > plan.first_of(window) or end < plan.window_ends[window]
        ]
        single = [
            _window_positions(self, epoch, window)[
                max(begin - plan.first_of(window), 0) : end - plan.first_of(window)
            ]
            for window in edges
        ]
        whole = slice(first + (first in edges), last + 1 - (last in edges))
        blocks = plan.blocks[whole.start * self.window_blocks : whole.stop * self.window_blocks]
        starts = blocks * self.block_rows
        stops = np.minimum(starts + self.block_rows, len(self.rows))
        return (
            np.concatenate([starts, *single]),
            np.concatenate([stops, *(positions + 1 for positions in single)]),
        )


@dataclass(frozen=True)
class _EpochPlan:
    """The epoch's permuted blocks, and the place after each window's last position."""

    blocks: NDArray[np.int64]
    window_ends: NDArray[np.int64]

    def windows(self, begin: int, end: int) -> tuple[int, int]:
        """The first and the last window that hold the places from ``begin`` to before ``end``."""
        first = np.searchsorted(self.window_ends, begin, side="right")
        return int(first), int(np.searchsorted(self.window_ends, end, side="left"))

    def first_of(self, window: int) -> int:
        """The place of a window's first position."""
        return int(self.window_ends[window - 1]) if window else 0


@lru_cache(maxsize=2)
def _epoch_plan(order: TrainingOrder, epoch: int) -> _EpochPlan:
    rows = len(order.rows)
    count = -(-rows // order.block_rows)
    blocks = np.random.default_rng((_BLOCKS, *order.seed, epoch)).permutation(count)
    sizes = np.full(count, order.block_rows, dtype=np.int64)
    sizes[blocks == count - 1] = rows - (count - 1) * order.block_rows
    ends = np.cumsum(sizes)
    last_blocks = np.append(
        np.arange(order.window_blocks - 1, count - 1, order.window_blocks), count - 1
    )
    return _EpochPlan(blocks=blocks, window_ends=ends[last_blocks])


@lru_cache(maxsize=4)
def _window_positions(order: TrainingOrder, epoch: int, window: int) -> Positions:
    plan = _epoch_plan(order, epoch)
    blocks = plan.blocks[window * order.window_blocks : (window + 1) * order.window_blocks]
    positions = (blocks[:, None] * order.block_rows + np.arange(order.block_rows)).reshape(-1)
    positions = positions[positions < len(order.rows)]
    return np.random.default_rng((_ROWS, *order.seed, epoch, window)).permutation(positions)
