"""A shard's file against its commit: the digest of its rows, read in bounded memory."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.errors import PipeError
from teacher_cache.manifest import Commit
from teacher_cache.mapped_shard import map_shard
from teacher_cache.shard_file import ShardShape, require_committed
from teacher_cache.storage import Stored

_ROWS_AT_A_TIME = 1024
"""Rows of a block of ``sound_blocks``, a multiple of a chunk's."""


def digest_of_rows(*blocks: Stored) -> str:
    """Digest stored rows independently of the file around them.

    Args:
        blocks: (n, columns) each, little-endian, in the order of their rows.

    Returns:
        SHA-256 of the numbers, row by row, in hexadecimal.
    """
    state = hashlib.sha256()
    for block in blocks:
        state.update(_bytes_of(block))
    return state.hexdigest()


def check_file(path: Path, shape: ShardShape, commit: Commit) -> None:
    """Check all of a shard's file, wherever it lies, against its commit, in bounded memory.

    Args:
        path: The file.
        shape: What it should hold.
        commit: Its record.

    Raises:
        PipeError: The file is not whole, or not what was committed.
    """
    for _ in sound_blocks(path, shape, commit):
        pass


def sound_blocks(path: Path, shape: ShardShape, commit: Commit) -> Iterator[tuple[int, Stored]]:
    """Read a shard's file block by block and check all of it against its commit.

    Args:
        path: The file.
        shape: What it should hold.
        commit: Its record.

    Yields:
        The place of a block's first row, and its rows as stored, (n, columns).

    Raises:
        PipeError: The file is not whole, or, after the last block, not what was committed.
    """
    mapped = map_shard(path, shape, commit.chunks_crc32c)
    require_committed(path, shape, commit.chunks_crc32c)
    state = hashlib.sha256()
    for first in range(0, shape.rows, _ROWS_AT_A_TIME):
        block = mapped.take(slice(first, min(first + _ROWS_AT_A_TIME, shape.rows)))
        state.update(_bytes_of(block))
        yield first, block
        mapped.release()
    found = state.hexdigest()
    if found != commit.vectors_digest:
        raise PipeError(
            f"the vectors of shard {commit.shard} of {commit.teacher} in {path} have digest "
            f"{found[:12]}, expected {commit.vectors_digest[:12]} as committed; "
            "`pipe store repair` sets the shard aside, and `pipe teach` encodes it again."
        )


def _bytes_of(block: Stored) -> memoryview:
    """The numbers of stored rows, row by row."""
    return np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
