"""A shard's file mapped into memory through its index, checked as it is read."""

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from teacher_cache.layout import Selection
from teacher_cache.shard_file import (
    BYTES_OF_CRC,
    ROWS_PER_CHUNK,
    FileIdentity,
    ShardShape,
    crc32c,
    damaged,
    file_checksums,
)


class MappedShard:
    """A shard's rows, read from the page cache; a chunk's checksum is checked at its first touch.

    Attributes:
        path: The file.
        shape: What it holds.
        identity: Tells this file from one that takes its place: inode, time of change, bytes.
        checksums: The crc32c that each chunk should have.
        checked: Which chunks have been checked, (chunks,).
        touched: Whether this process may hold pages of it since the last ``release``.
    """

    def __init__(
        self,
        path: Path,
        shape: ShardShape,
        mapping: mmap.mmap,
        identity: FileIdentity,
        checksums: Sequence[int],
    ) -> None:
        """Use ``map_shard``, which checks the index.

        Args:
            path: The file.
            shape: What it holds.
            mapping: The whole file.
            identity: Inode, time of change, bytes.
            checksums: The crc32c that each chunk should have.
        """
        self.path = path
        self.shape = shape
        self.identity = identity
        self.checksums = checksums
        self.checked = np.zeros(shape.chunks, bool)
        self.touched = False
        self._mapping = mapping
        self._rows: npt.NDArray[Any] = np.ndarray(
            (shape.chunks, ROWS_PER_CHUNK, shape.columns),
            shape.dtype,
            mapping,
            strides=(shape.stride, shape.row_bytes, shape.dtype.itemsize),
        )

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
            if first == last:
                return self._rows[first, within]
            return self._rows[first : last + 1].reshape(-1, self.shape.columns)[within]
        chunks, within_chunk = np.divmod(places, ROWS_PER_CHUNK)
        self._check(chunks)
        taken: npt.NDArray[Any] = self._rows[chunks, within_chunk]
        return taken

    def _check(self, chunks: npt.NDArray[np.int64]) -> None:
        self.touched = True
        if self.checked[chunks].all():
            return
        for chunk in np.unique(chunks[~self.checked[chunks]]).tolist():
            content = self._rows[chunk].reshape(-1).view(np.uint8)
            if crc32c(content) != self.checksums[chunk]:
                raise damaged(self.path, f"chunk {chunk} with other bytes", "the bytes as written")
            self.checked[chunk] = True

    def chunks(self) -> Iterator[npt.NDArray[Any]]:
        """Read all rows without copying them.

        Yields:
            The rows of each chunk, (64, columns), the last one's fewer; read-only views.

        Raises:
            PipeError: A chunk has changed since it was written.
        """
        for first in range(0, self.shape.rows, ROWS_PER_CHUNK):
            yield self.take(slice(first, min(first + ROWS_PER_CHUNK, self.shape.rows)))

    def check(self) -> None:
        """Check every chunk that has not been checked yet.

        Raises:
            PipeError: A chunk has changed since it was written.
        """
        self._check(np.arange(self.shape.chunks))

    def release(self) -> None:
        """Take the file's pages out of this process's memory; they stay in the page cache."""
        self._mapping.madvise(mmap.MADV_DONTNEED)
        self.touched = False


def map_shard(path: Path, shape: ShardShape, checksums: Sequence[int] | None = None) -> MappedShard:
    """Map a shard's file and check its size and its index; its chunks are not touched yet.

    Args:
        path: The file.
        shape: What it should hold.
        checksums: The crc32c that each chunk should have (``Commit.chunks_crc32c``); those in the
            file if None.

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
        raise damaged(path, f"a file that cannot be mapped ({error})", "a whole shard") from None
    if len(mapping) != shape.file_bytes:
        raise damaged(path, f"{len(mapping):,} bytes", f"{shape.file_bytes:,}")
    raw = np.frombuffer(mapping, np.uint8)
    index, crc = raw[-shape.index_bytes : -BYTES_OF_CRC], raw[-BYTES_OF_CRC:]
    if crc32c(index) != int.from_bytes(crc.tobytes(), "little"):
        raise damaged(path, "an index that does not fit its checksum", "the bytes as written")
    pairs = np.frombuffer(index, "<u8").reshape(-1, 2)[: shape.chunks]
    # Zarr would allow chunks in another order, or with gaps; nobody writes such an array so.
    in_order = pairs[:, 0] == np.arange(shape.chunks) * shape.stride
    if not in_order.all() or (pairs[:, 1] != shape.stride).any():
        raise damaged(path, "chunks that are absent or out of order", "all, one after the other")
    identity = (status.st_ino, status.st_mtime_ns, status.st_size)
    checksums = file_checksums(path, shape) if checksums is None else checksums
    return MappedShard(path, shape, mapping, identity, checksums)


def mapped_bytes() -> int:
    """Say how much of mapped files this process holds in memory.

    Returns:
        Bytes; 0 where the system does not tell.
    """
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[2])
    except OSError:
        return 0
    return pages * mmap.PAGESIZE
