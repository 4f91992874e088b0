"""Reading ahead of training from a remote store: what is asked for next is fetched meanwhile."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import PipeError
from teacher_cache.store import TeacherStore

Rows = NDArray[np.int64]

_TELLINGS = 8
"""How often, while what was announced is used up, more is announced."""


def announced(
    batches: Iterable[Rows], expect: Callable[[Rows], None], ahead: int
) -> Iterator[Rows]:
    """Pass batches on, and say in time which rows will come.

    Args:
        batches: The rows of consecutive steps.
        expect: Takes the rows of the next steps, the nearest first; returns at once.
        ahead: How many steps to look ahead.

    Yields:
        The same batches.

    >>> told = []
    >>> steps = [np.array([n]) for n in range(4)]
    >>> [int(rows[0]) for rows in announced(steps, lambda rows: told.append(rows.tolist()), 2)]
    [0, 1, 2, 3]
    >>> told
    [[0, 1], [1, 2], [2, 3], [3]]
    """
    rest = iter(batches)
    coming: deque[Rows] = deque()
    every = max(ahead // _TELLINGS, 1)
    told = every
    while True:
        while len(coming) < ahead and (rows := next(rest, None)) is not None:
            coming.append(rows)
        if not coming:
            return
        if told == every:
            expect(np.concatenate(coming))
            told = 0
        told += 1
        yield coming.popleft()


def require_room(
    store: TeacherStore, teachers: list[str], block_rows: int, window_blocks: int, limit: int
) -> None:
    """Check that the shards of a window of the training order fit in the cache together.

    The rows of a window are drawn in random order, so each of its shards is read again and again
    until the window ends.

    Args:
        store: The remote store.
        teachers: The teachers that are read.
        block_rows: Rows of a block of the order.
        window_blocks: Blocks of a window.
        limit: Bytes that the cache may take.

    Raises:
        PipeError: They do not fit; what to set is said.
    """
    layout = store.layout
    per_block = 1 + (block_rows - 1) / layout.rows_per_shard
    shards = min(math.ceil(window_blocks * per_block), layout.num_shards)
    row_bytes = 0
    for name in teachers:
        storage = store.storage(name)
        row_bytes += storage.columns * storage.dtype.itemsize
    wanted = shards * layout.rows_per_shard * row_bytes
    if wanted > limit:
        raise PipeError(
            f"found a cache of {limit / 1e9:.3g} GB, expected room for a window of the training "
            f"order, which reads {shards} shards of each teacher, {wanted / 1e9:.3g} GB; set "
            f"training.order_block_rows={layout.rows_per_shard} (the rows of a shard) and a few "
            "training.order_window_blocks, or a larger --cache-size."
        )
