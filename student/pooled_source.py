"""Pooled states that are read instead of computed: from a stage's files, or from a teacher's.

Shape legend: B rows asked for, H pooled state.
"""

from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from student.row_set import Rows
from teacher_cache.layout import ShardLayout
from teacher_cache.open_store import RemoteStore, open_store
from teacher_cache.store import TeacherStore

States = npt.NDArray[np.float32]


class PooledSource(Protocol):
    """Gives pooled states by row; goes to a reader process by pickle."""

    def read(self, rows: Rows) -> States:
        """Read some rows.

        Args:
            rows: Row numbers in any order, repeated or not, (B,).

        Returns:
            states_BH, float32.

        Raises:
            PipeError: The source does not have a row, or it is damaged.
        """


class PooledFiles:
    """The files that ``student.pooled_cache`` computes: the states of some rows, shard by shard."""

    def __init__(self, directory: Path, rows: Rows, layout: ShardLayout, hidden: int) -> None:
        """Say what is there; nothing is opened yet.

        Args:
            directory: Holds one file per shard.
            rows: The rows that there are states of, ascending, without repetition.
            layout: Which rows a shard holds.
            hidden: H.
        """
        self.directory = directory
        self.rows = rows
        self.layout = layout
        self.hidden = hidden
        self._mapped: dict[int, tuple[States, int]] = {}

    def __reduce__(self) -> tuple[object, tuple[Path, Rows, ShardLayout, int]]:
        # A reader process maps the files itself.
        return (type(self), (self.directory, self.rows, self.layout, self.hidden))

    @property
    def shards(self) -> list[int]:
        """The shards that hold a row, ascending."""
        return [int(shard) for shard in np.unique(self.layout.shard_of(self.rows))]

    @property
    def bytes(self) -> int:
        """Bytes of all states."""
        return len(self.rows) * self.hidden * np.dtype(np.float32).itemsize

    def path(self, shard: int) -> Path:
        """Say where the states of a shard's rows lie.

        Args:
            shard: Its number.
        """
        return self.directory / f"{shard:05d}.npy"

    def rows_of(self, shard: int) -> Rows:
        """The rows of a shard that there are states of, ascending.

        Args:
            shard: Its number.
        """
        held = self.layout.range_of(shard)
        first, end = np.searchsorted(self.rows, (held.start, held.stop))
        return self.rows[first:end]

    def open(self, shard: int) -> States:
        """Map a shard's file.

        Args:
            shard: Its number.

        Returns:
            (n, H), read-only, in the order of ``rows_of``.

        Raises:
            PipeError: The file is missing, short, or of another shape or type.
        """
        path, expected = self.path(shard), (len(self.rows_of(shard)), self.hidden)
        try:
            states: States = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise PipeError(
                f"{path} holds no pooled states ({error}); run the same command again, which "
                "computes them anew."
            ) from None
        if states.shape != expected or states.dtype != np.float32:
            raise PipeError(
                f"found {states.dtype} of shape {states.shape} in {path}, expected float32 of "
                f"shape {expected}; run the same command again, which computes them anew."
            )
        return states

    def read(self, rows: Rows) -> States:
        """As ``PooledSource``."""
        places = np.searchsorted(self.rows, rows)
        known = np.minimum(places, len(self.rows) - 1)
        if (absent := self.rows[known] != rows).any():
            raise PipeError(
                f"found no pooled state of row {int(rows[absent][0])} in {self.directory}, "
                "expected every row that the stage draws; remove the directory, and the same "
                "command computes them anew."
            )
        states_BH = np.empty((len(rows), self.hidden), np.float32)
        for shard, _, positions in self.layout.by_shard(rows):
            if shard not in self._mapped:
                # As a plain array: indexing numpy's memmap type costs more than the rows.
                first = int(np.searchsorted(self.rows, self.layout.range_of(shard).start))
                self._mapped[shard] = np.asarray(self.open(shard)), first
            states, first = self._mapped[shard]
            states_BH[positions] = states[places[positions] - first]
        return states_BH


class TeacherStates:
    """The states that a factored teacher's store keeps, for a student that starts as it."""

    def __init__(self, corpus: Path, store: Path | RemoteStore, teacher: str) -> None:
        """Say where they are; nothing is opened yet.

        Args:
            corpus: The corpus directory.
            store: The store directory, or where the store lies and the cache for it.
            teacher: The teacher's name.
        """
        self.corpus = corpus
        self.store = store
        self.teacher = teacher

    def __reduce__(self) -> tuple[object, tuple[Path, Path | RemoteStore, str]]:
        # A reader process opens the store itself.
        return (type(self), (self.corpus, self.store, self.teacher))

    @cached_property
    def _opened(self) -> TeacherStore:
        return open_store(self.store, Corpus.open(self.corpus))

    def read(self, rows: Rows) -> States:
        """As ``PooledSource``."""
        return self._opened.read_states(self.teacher, rows)
