"""Checking what an encoder gave for a shard and bringing it to the form that is stored."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.manifest import TeacherEntry
from teacher_cache.storage import Storage, Stored

_ROWS_AT_A_TIME = 64
_MOST_THREADS = min(4, os.cpu_count() or 1)
"""Rows packed at a time, and by how many threads; a teacher on a GPU leaves the processor idle."""


def check_rows(
    storage: Storage, given: npt.NDArray[np.floating], rows: range, entry: TeacherEntry
) -> Stored:
    """Check what an encoder gave for a shard and bring it to the form that is stored.

    Args:
        storage: The teacher's storage.
        given: (n, storage.inputs), float32 or float16: unit vectors up to ``NORM_TOLERANCE``, or
            pooled states.
        rows: The n rows that they belong to.
        entry: The teacher.

    Returns:
        (n, storage.columns) of the storage's type.

    Raises:
        PipeError: Wrong shape or type, or a row is not a finite unit vector.
    """
    name, expected = entry.config.name, (len(rows), storage.inputs)
    if given.shape != expected or given.dtype not in (np.float32, np.float16):
        raise PipeError(
            f"found vectors of shape {given.shape} and type {given.dtype} from {name}, expected"
            f" {expected} and float32 or float16; check the teacher's `dim` and its encoder."
        )
    stored = np.empty((len(given), storage.columns), storage.dtype)

    def pack(first: int) -> npt.NDArray[np.int64]:
        block = slice(first, first + _ROWS_AT_A_TIME)
        stored[block] = storage.pack(given[block])
        return first + storage.unsound(stored[block])

    # numpy computes without the interpreter's lock; a block fits the processor's cache.
    with ThreadPoolExecutor(_MOST_THREADS) as pool:
        wrong = np.concatenate([*pool.map(pack, range(0, len(given), _ROWS_AT_A_TIME))])
    if wrong.size:
        first = int(wrong[0])
        row = given[first].astype(np.float32)
        found = f"norm {np.linalg.norm(row):.4g}" if np.isfinite(row).all() else "NaN or infinity"
        raise PipeError(
            f"found {found} in the vector of row {rows[first]} from {name} ({wrong.size} such rows "
            f"in rows {rows.start} to {rows.stop - 1}), expected unit vectors; look at the row's "
            "text in the corpus and at the teacher's dtype. Nothing of this shard was written."
        )
    return stored
