"""The file of one uncompressed Zarr v3 shard: written at disk speed, mapped through its index.

The file is the inner chunks, each followed by its crc32c; then for each an (offset, length) pair of
little-endian uint64; then the crc32c of those pairs. A chunk that was never written has 2**64 - 1
for both. These are the bytes that zarr-python writes for the same array.
"""

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import google_crc32c
import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.layout import Selection

ROWS_PER_CHUNK: Final = 64
"""Rows of an inner chunk: what another Zarr library reads to get at one row."""

_BYTES_PER_PAIR = 16
_BYTES_OF_CRC = 4
_ABSENT = 2**64 - 1
_FAULT_BYTES = 2**16
"""What the kernel maps around a row that is touched."""


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
        return self.chunk_bytes + _BYTES_OF_CRC

    @cached_property
    def chunks(self) -> int:
        """Chunks that hold rows."""
        return -(-self.rows // ROWS_PER_CHUNK)

    @cached_property
    def index_bytes(self) -> int:
        """Bytes of the index, its checksum included."""
        return self.rows_per_shard // ROWS_PER_CHUNK * _BYTES_PER_PAIR + _BYTES_OF_CRC

    @cached_property
    def file_bytes(self) -> int:
        """Bytes of the file."""
        return self.chunks * self.stride + self.index_bytes


def write_shard(path: Path, stored: npt.NDArray[Any], shape: ShardShape) -> int:
    """Write a shard's file; nothing is durable or in its place yet.

    Args:
        path: The file to write.
        stored: (rows, columns) of the shape's type.
        shape: What the file is to hold.

    Returns:
        The crc32c of the chunks' checksums (``Commit.chunks_crc32c``).
    """
    checksums = bytearray()
    index = np.full((shape.rows_per_shard // ROWS_PER_CHUNK, 2), _ABSENT, "<u8")
    index[: shape.chunks, 0] = np.arange(shape.chunks) * shape.stride
    index[: shape.chunks, 1] = shape.stride
    with path.open("wb") as file:
        for chunk in _whole_chunks(stored, shape):
            file.write(chunk.data)
            checksums += (checksum := _checksum(chunk))
            file.write(checksum)
        file.write(index.tobytes() + _checksum(index))
    return _crc32c(bytes(checksums))


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


def _crc32c(content: bytes | npt.NDArray[Any]) -> int:
    value: int = google_crc32c.value(content)
    return value


def _checksum(content: npt.NDArray[Any]) -> bytes:
    return _crc32c(content).to_bytes(_BYTES_OF_CRC, "little")


class MappedShard:
    """A shard's rows, read from the page cache; a chunk's checksum is checked at its first touch.

    Attributes:
        path: The file.
        shape: What it holds.
        identity: Tells this file from one that takes its place: inode, time of change, bytes.
        checked: Which chunks have been checked, (chunks,).
        resident: Bytes that this process has touched since the last ``release``, about.
    """

    def __init__(
        self, path: Path, shape: ShardShape, mapping: mmap.mmap, identity: FileIdentity
    ) -> None:
        """Use ``map_shard``, which checks the index.

        Args:
            path: The file.
            shape: What it holds.
            mapping: The whole file.
            identity: Inode, time of change, bytes.
        """
        self.path = path
        self.shape = shape
        self.identity = identity
        self.checked = np.zeros(shape.chunks, bool)
        self.resident = 0
        self._mapping = mapping
        self._rows: npt.NDArray[Any] = np.ndarray(
            (shape.chunks, ROWS_PER_CHUNK, shape.columns),
            shape.dtype,
            mapping,
            strides=(shape.stride, shape.row_bytes, shape.dtype.itemsize),
        )
        ends = np.ndarray(
            (shape.chunks, _BYTES_OF_CRC),
            np.uint8,
            mapping,
            offset=shape.chunk_bytes,
            strides=(shape.stride, 1),
        )
        self._checksums = np.ascontiguousarray(ends).view("<u4").reshape(-1)

    def take(self, places: Selection) -> npt.NDArray[Any]:
        """Read rows.

        Args:
            places: Places of n rows within the shard, as a slice or as indices.

        Returns:
            (n, columns) of the shape's type; a read-only view of the file for a slice within a
            chunk, a copy otherwise.

        Raises:
            PipeError: A chunk has changed since it was written.
        """
        if isinstance(places, slice):
            first, last = places.start // ROWS_PER_CHUNK, (places.stop - 1) // ROWS_PER_CHUNK
            self._check(np.arange(first, last + 1))
            offset = first * ROWS_PER_CHUNK
            within = slice(places.start - offset, places.stop - offset)
            self.resident += (places.stop - places.start) * self.shape.row_bytes
            if first == last:
                return self._rows[first, within]
            return self._rows[first : last + 1].reshape(-1, self.shape.columns)[within]
        chunks, within_chunk = np.divmod(places, ROWS_PER_CHUNK)
        self._check(chunks)
        self.resident += len(places) * (self.shape.row_bytes + _FAULT_BYTES)
        taken: npt.NDArray[Any] = self._rows[chunks, within_chunk]
        return taken

    def _check(self, chunks: npt.NDArray[np.int64]) -> None:
        if self.checked[chunks].all():
            return
        for chunk in np.unique(chunks[~self.checked[chunks]]).tolist():
            content = self._rows[chunk].reshape(-1).view(np.uint8)
            self.resident += self.shape.chunk_bytes
            if _crc32c(content) != self._checksums[chunk]:
                raise _damaged(self.path, f"chunk {chunk} with other bytes", "the bytes as written")
            self.checked[chunk] = True

    def chunks_crc32c(self) -> int:
        """The crc32c of the chunks' checksums, to compare with ``Commit.chunks_crc32c``."""
        return _crc32c(self._checksums)

    def release(self) -> None:
        """Take the file's pages out of this process's memory; they stay in the page cache."""
        self._mapping.madvise(mmap.MADV_DONTNEED)
        self.resident = 0


def map_shard(path: Path, shape: ShardShape) -> MappedShard:
    """Map a shard's file and check its size and its index.

    Args:
        path: The file.
        shape: What it should hold.

    Returns:
        The mapped rows.

    Raises:
        PipeError: The file is missing or cut off, its index is damaged, or its chunks do not lie
            as this package and zarr-python write them.
    """
    try:
        # A pipe in the file's place must not be waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise _damaged(path, f"a file that cannot be mapped ({error})", "a whole shard") from None
    if len(mapping) != shape.file_bytes:
        raise _damaged(path, f"{len(mapping):,} bytes", f"{shape.file_bytes:,}")
    raw = np.frombuffer(mapping, np.uint8)
    index, crc = raw[-shape.index_bytes : -_BYTES_OF_CRC], raw[-_BYTES_OF_CRC:]
    if _checksum(index) != crc.tobytes():
        raise _damaged(path, "an index that does not fit its checksum", "the bytes as written")
    pairs = np.frombuffer(index, "<u8").reshape(-1, 2)[: shape.chunks]
    # Zarr would allow chunks in another order, or with gaps; nobody writes such an array so.
    in_order = pairs[:, 0] == np.arange(shape.chunks) * shape.stride
    if not in_order.all() or (pairs[:, 1] != shape.stride).any():
        raise _damaged(path, "chunks that are absent or out of order", "all, one after the other")
    return MappedShard(path, shape, mapping, (status.st_ino, status.st_mtime_ns, status.st_size))


def _damaged(path: Path, found: str, expected: str) -> PipeError:
    return PipeError(
        f"found {found} in {path}, expected {expected}; the shard is damaged: "
        "`pipe store repair` sets it aside, and `pipe teach` encodes it again."
    )
