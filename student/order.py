"""The training order: a pure function of seed, epoch and step."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import PipeError

Rows = NDArray[np.int64]

# First words of the seeds, so that the two kinds of permutation never share a stream.
_BLOCKS, _ROWS = 1, 2


@dataclass(frozen=True)
class TrainingOrder:
    """Which rows each step sees, the same for any number of ranks and readers.

    Rows lie in blocks that are read together. Every epoch permutes the blocks; within a window
    of blocks it permutes the rows. A row comes at most once in an epoch; the few rows that do
    not fill a last batch are others in every epoch.

    Attributes:
        first_row: Training rows begin here.
        end_row: And end before here.
        batch_size: Rows of a step, over all ranks.
        seed: Decides, with the epoch, every permutation.
        block_rows: Rows in a block.
        window_blocks: Blocks in a window.
    """

    first_row: int
    end_row: int
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
                f"the corpus has {self.rows} training rows and a batch takes {self.batch_size}; "
                "add texts to the corpus or lower the stage's batch_size."
            )

    @property
    def rows(self) -> int:
        """Number of training rows."""
        return self.end_row - self.first_row

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.rows // self.batch_size

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
        first = int(np.searchsorted(plan.window_ends, begin, side="right"))
        last = int(np.searchsorted(plan.window_ends, end, side="left"))
        rows = np.concatenate(
            [_window_rows(self, epoch, window) for window in range(first, last + 1)]
        )
        offset = begin - (int(plan.window_ends[first - 1]) if first else 0)
        return rows[offset : offset + self.batch_size]

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


@dataclass(frozen=True)
class _EpochPlan:
    """The epoch's permuted blocks, and the position after each window's last row."""

    blocks: NDArray[np.int64]
    window_ends: NDArray[np.int64]


@lru_cache(maxsize=2)
def _epoch_plan(order: TrainingOrder, epoch: int) -> _EpochPlan:
    count = -(-order.rows // order.block_rows)
    blocks = np.random.default_rng((_BLOCKS, *order.seed, epoch)).permutation(count)
    sizes = np.full(count, order.block_rows, dtype=np.int64)
    sizes[blocks == count - 1] = order.rows - (count - 1) * order.block_rows
    ends = np.cumsum(sizes)
    last_blocks = np.append(
        np.arange(order.window_blocks - 1, count - 1, order.window_blocks), count - 1
    )
    return _EpochPlan(blocks=blocks, window_ends=ends[last_blocks])


@lru_cache(maxsize=4)
def _window_rows(order: TrainingOrder, epoch: int, window: int) -> Rows:
    plan = _epoch_plan(order, epoch)
    blocks = plan.blocks[window * order.window_blocks : (window + 1) * order.window_blocks]
    rows = (blocks[:, None] * order.block_rows + np.arange(order.block_rows)).reshape(-1)
    rows = rows[rows < order.rows] + order.first_row
    return np.random.default_rng((_ROWS, *order.seed, epoch, window)).permutation(rows)
