"""Training batches: what the rows of a step are read into, and the stream of them."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Protocol, TypedDict

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from data_prep.errors import PipeError
from student.order import TrainingOrder
from student.ranks import ALONE, Ranks
from student.row_set import Rows
from student.timing import StepClock
from student.token_group import TokenGroup


class DistillBatch(TypedDict):
    """What a training step gets; all in the order of the groups' inputs.

    Attributes:
        groups: The batch's inputs in length-sorted groups; none where the pooled states are known.
        pooled: pooled_BH, float32, where they are known.
        target: What the heads' targets are made from, float32: target_BT, unit rows, for texts;
            the captions' pooled states, captions_BH, for images.
        rows: Row numbers, (B,), int64.
    """

    groups: Sequence[TokenGroup]
    pooled: torch.Tensor | None
    target: torch.Tensor
    rows: torch.Tensor


class RowReader(Protocol):
    """Open files that the rows of a step are read from."""

    def expect(self, rows: Rows) -> None:
        """Hear which rows will be read soon, so that a remote store can fetch them.

        Args:
            rows: Row numbers.
        """

    def read(self, rows: Rows, step: int) -> DistillBatch:
        """Read a batch.

        Args:
            rows: Row numbers, (B,).
            step: The step that they are drawn in.

        Raises:
            PipeError: A row has no committed vector, or the store or an input is not the corpus's.
        """


class RowSource(Protocol):
    """Says where rows are read from; goes to a reader process by pickle."""

    def open(self) -> RowReader:
        """Open the files in the process that reads them.

        Raises:
            PipeError: They are not there or damaged.
        """


class BatchStream(IterableDataset[DistillBatch | PipeError]):
    """The batches of consecutive steps.

    The files are opened where the stream is read, so that it can move to a reader process.
    """

    def __init__(
        self, source: RowSource, order: TrainingOrder, steps: range, ranks: Ranks = ALONE
    ) -> None:
        """Describe the stream; nothing is read yet.

        Args:
            source: Where rows are read from.
            order: Which rows a step sees.
            steps: Which steps to yield.
            ranks: This process among those that train; it reads its own rows of a step alone.
        """
        super().__init__()
        self.source = source
        self.order = order
        self.steps = steps
        self.ranks = ranks

    def __iter__(self) -> Iterator[DistillBatch | PipeError]:
        """Yield one batch a step.

        A reader process yields its error as the last item, for torch would wrap it in a traceback.

        Raises:
            PipeError: As for ``RowSource`` and ``RowReader``.
        """
        try:
            yield from self._read()
        except PipeError as error:
            if get_worker_info() is None:
                raise
            yield error

    def _read(self) -> Iterator[DistillBatch]:
        reader = self.source.open()
        window = self.order.steps_per_window
        for step in self.steps:
            if (step - self.steps.start) % window == 0:
                # A window reads from all its shards at once, so the next one is announced as well.
                reader.expect(self._rows_of(range(step, min(step + 2 * window, self.steps.stop))))
            yield reader.read(self.ranks.share(self.order.batch(step)), step)

    def _rows_of(self, steps: range) -> Rows:
        batches = self.order.batches(steps.start, steps.stop)
        return np.concatenate([self.ranks.share(batch) for batch in batches])

    def loader(self, readers: int, clock: StepClock | None = None) -> "BatchLoader":
        """A loader that reads ahead of the step.

        Args:
            readers: 1 for a reader process, 0 to read in line.
            clock: Told how long a batch was waited for, and what is in it.

        Returns:
            A loader with its own random generator, so that iterating it moves no other.
        """
        loader = BatchLoader(
            self,
            batch_size=None,
            num_workers=readers,
            prefetch_factor=4 if readers else None,
            generator=torch.Generator(),
        )
        loader.clock = clock
        return loader


class BatchLoader(DataLoader[DistillBatch | PipeError]):
    """A loader that raises a reader's error as the reader raised it.

    Attributes:
        clock: Told how long a batch was waited for, and what is in it.
    """

    clock: StepClock | None = None

    def __iter__(self) -> Iterator[DistillBatch]:  # type: ignore[override]
        """Yield the stream's batches.

        Raises:
            PipeError: As ``BatchStream``.
        """
        batches = super().__iter__()
        while True:
            with self.clock.part("data") if self.clock else nullcontext():
                item = next(batches, None)
            if item is None:
                return
            if isinstance(item, PipeError):
                raise item
            if self.clock:
                tokens = sum(int(group["attention_mask"].sum()) for group in item["groups"])
                self.clock.count(texts=len(item["rows"]), tokens=tokens)
            yield item
