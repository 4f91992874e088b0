"""Whether a cache has room for what training reads from a remote store at a time."""

import math

from data_prep.errors import PipeError
from teacher_cache.store import TeacherStore


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
