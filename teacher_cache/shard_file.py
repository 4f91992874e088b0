"""The file of one uncompressed Zarr v3 shard: its shape, its checksums, and writing it.

The file is the inner chunks, each followed by its crc32c; then for each an (offset, length) pair of
little-endian uint64; then the crc32c of those pairs. A chunk that was never written has 2**64 - 1
for both. These are the bytes that zarr-python writes for the same array.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import google_crc32c
import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError

ROWS_PER_CHUNK: Final = 64
"""Rows of an inner chunk: what another Zarr library reads to get at one row."""

_BYTES_PER_PAIR = 16
BYTES_OF_CRC = 4
_ABSENT = 2**64 - 1


FileIdentity: TypeAlias = tuple[int, int, int]
"""Inode, time of change in nanoseconds, bytes."""


@dataclass(frozen=True)
class ShardShape:
    """What a shard's file holds.

    Attributes:
        rows: Rows in the shard.
        rows_per_shard: Rows that a whole shard holds, a multiple of 64.
        columns: Numbers in a row.
        dtype: Their type.
    """

    rows: int
    rows_per_shard: int
    columns: int
    dtype: np.dtype[Any]

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.columns * self.dtype.itemsize

    @cached_property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk's numbers, without its checksum."""
        return ROWS_PER_CHUNK * self.row_bytes

    @cached_property
    def stride(self) -> int:
        """Bytes from one chunk to the next."""
        return self.chunk_bytes + BYTES_OF_CRC

    @cached_property
    def chunks(self) -> int:
        """Chunks that hold rows."""
        return -(-self.rows // ROWS_PER_CHUNK)

    @cached_property
    def index_bytes(self) -> int:
        """Bytes of the index, its checksum included."""
        return self.rows_per_shard // ROWS_PER_CHUNK * _BYTES_PER_PAIR + BYTES_OF_CRC

    @cached_property
    def file_bytes(self) -> int:
        """Bytes of the file."""
        return self.chunks * self.stride + self.index_bytes


def write_shard(path: Path, stored: npt.NDArray[Any], shape: ShardShape) -> list[int]:
    """Write a shard's file; nothing is durable or in its place yet.

    Args:
        path: The file to write.
        stored: (rows, columns) of the shape's type.
        shape: What the file is to hold.

    Returns:
        The crc32c of each chunk (``Commit.chunks_crc32c``).
    """
    checksums = []
    index = np.full((shape.rows_per_shard // ROWS_PER_CHUNK, 2), _ABSENT, "<u8")
    index[: shape.chunks, 0] = np.arange(shape.chunks) * shape.stride
    index[: shape.chunks, 1] = shape.stride
    with path.open("wb") as file:
        for chunk in _whole_chunks(stored, shape):
            file.write(chunk.data)
            checksums.append(crc32c(chunk))
            file.write(checksums[-1].to_bytes(BYTES_OF_CRC, "little"))
        file.write(index.tobytes() + _checksum(index))
    return checksums


def _whole_chunks(stored: npt.NDArray[Any], shape: ShardShape) -> Iterator[npt.NDArray[Any]]:
    for first in range(0, shape.rows, ROWS_PER_CHUNK):
        chunk = np.ascontiguousarray(stored[first : first + ROWS_PER_CHUNK], shape.dtype)
        if len(chunk) < ROWS_PER_CHUNK:
            padded = np.full((ROWS_PER_CHUNK, shape.columns), fill_value(shape.dtype), shape.dtype)
            padded[: len(chunk)] = chunk
            chunk = padded
        yield chunk.reshape(-1).view(np.uint8)


def fill_value(dtype: np.dtype[Any]) -> float:
    """What a row that was never written reads as: NaN where the type has it.

    Args:
        dtype: The array's type.
    """
    return float("nan") if dtype.kind == "f" else 0


def crc32c(content: bytes | npt.NDArray[Any]) -> int:
    """Checksum bytes.

    Args:
        content: Bytes, or a contiguous array.

    Returns:
        Their crc32c.
    """
    value: int = google_crc32c.value(content)
    return value


def _checksum(content: npt.NDArray[Any]) -> bytes:
    return crc32c(content).to_bytes(BYTES_OF_CRC, "little")


def file_checksums(path: Path, shape: ShardShape) -> list[int]:
    """Read the checksums behind a file's chunks, and nothing else of it.

    Args:
        path: A file of the shape's size.
        shape: What it should hold.

    Returns:
        The crc32c of each chunk, as the file has it.

    Raises:
        PipeError: The file cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):  # so that the kernel reads no more than asked for
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            places = range(shape.chunk_bytes, shape.chunks * shape.stride, shape.stride)
            ends = [os.pread(file.fileno(), BYTES_OF_CRC, place) for place in places]
    except OSError as error:
        raise damaged(path, f"a file that cannot be read ({error})", "a whole shard") from None
    return [int.from_bytes(end, "little") for end in ends]


def require_committed(path: Path, shape: ShardShape, checksums: Sequence[int]) -> None:
    """Check that a file is the one that was committed, by the checksums behind its chunks.

    Args:
        path: The file, of the shape's size.
        shape: What it should hold.
        checksums: Those of its commit.

    Raises:
        PipeError: It is another shard's, another teacher's, or an older one.
    """
    if file_checksums(path, shape) != checksums:
        raise PipeError(
            f"found other vectors in {path} than those that were committed; the file is another "
            "shard's or has changed: "
            "`pipe store repair` sets it aside, and `pipe teach` encodes it again."
        )


def damaged(path: Path, found: str, expected: str) -> PipeError:
    """Say what is wrong with a shard's file.

    Args:
        path: The file.
        found: What it holds.
        expected: What it should hold.

    Returns:
        The error, to be raised.
    """
    return PipeError(
        f"found {found} in {path}, expected {expected}; the shard is damaged: "
        "`pipe store repair` sets it aside, and `pipe teach` encodes it again."
    )
