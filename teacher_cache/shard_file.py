"""Memory-map the file of one uncompressed Zarr v3 shard through the index at its end.

The file is the inner chunks, then for each an (offset, length) pair of little-endian uint64, then
the crc32c of those pairs. A chunk that was never written has 2**64 - 1 for both.
"""

from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.arrays import ROWS_PER_CHUNK
from teacher_cache.layout import Selection

_BYTES_PER_NUMBER = 2
_BYTES_PER_PAIR = 16
_BYTES_OF_CRC = 4


@dataclass(frozen=True, slots=True)
class MappedShard:
    """A shard's rows, read from the page cache.

    Attributes:
        rows: Rows in the shard.
        dim: Numbers in a row.
        whole: All rows as one read-only float16 array (rows, dim), when the chunks follow each
            other, as they do in every shard that zarr-python or this package has written.
        raw: The file's bytes, read-only uint8.
        offsets: Where each inner chunk begins, in bytes.
    """

    rows: int
    dim: int
    whole: npt.NDArray[np.float16] | None
    raw: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def take(self, places: Selection) -> npt.NDArray[np.float16]:
        """Read rows.

        Args:
            places: Places of n rows within the shard, as a slice or as indices.

        Returns:
            (n, dim) float16; a view of the file for a slice, a copy for indices.
        """
        if self.whole is not None:
            return self.whole[places]
        if isinstance(places, slice):
            places = np.arange(places.start, places.stop)
        chunks, within = np.divmod(places, ROWS_PER_CHUNK)
        row_bytes = self.dim * _BYTES_PER_NUMBER
        starts = self.offsets[chunks] + within * row_bytes
        taken: npt.NDArray[np.uint8] = self.raw[starts[:, None] + np.arange(row_bytes)]
        return taken.view(np.float16)


def map_shard(path: Path, rows: int, rows_per_shard: int, dim: int) -> MappedShard:
    """Map a shard's file and check its index; the vectors' own digest is ``verify``'s work.

    Args:
        path: The file.
        rows: Rows that the shard holds.
        rows_per_shard: Rows that a whole shard holds.
        dim: Numbers in a row.

    Returns:
        The mapped rows.

    Raises:
        PipeError: The file is missing or cut off, its index is damaged, or a chunk is not whole.
    """
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise _damaged(path, f"a file that cannot be mapped ({error})", "a whole shard") from None
    num_chunks = rows_per_shard // ROWS_PER_CHUNK
    index_bytes = num_chunks * _BYTES_PER_PAIR
    data_bytes = len(raw) - index_bytes - _BYTES_OF_CRC
    if data_bytes < 0:
        raise _damaged(path, f"{len(raw)} bytes", f"an index of {num_chunks} chunks at the end")
    index = raw[data_bytes : data_bytes + index_bytes].tobytes()
    stored = int.from_bytes(raw[-_BYTES_OF_CRC:].tobytes(), "little")
    if google_crc32c.value(index) != stored:
        raise _damaged(path, "an index that does not fit its checksum", "the bytes as written")
    pairs = np.frombuffer(index, dtype="<u8").reshape(num_chunks, 2)
    pairs = pairs[: -(-rows // ROWS_PER_CHUNK)]
    chunk_bytes = ROWS_PER_CHUNK * dim * _BYTES_PER_NUMBER
    # A chunk that is absent has a huge offset; compare before the numbers become signed.
    bad = (pairs[:, 1] != chunk_bytes) | (pairs[:, 0] > max(data_bytes - chunk_bytes, 0))
    if bad.any() or data_bytes < chunk_bytes:
        chunk = int(np.argmax(bad))
        raise _damaged(path, f"inner chunk {chunk} absent or cut off", f"{chunk_bytes} bytes")
    offsets = pairs[:, 0].astype(np.int64)
    first = int(offsets[0])
    whole = None
    if (np.diff(offsets) == chunk_bytes).all() and first % _BYTES_PER_NUMBER == 0:
        data = raw[first : first + rows * dim * _BYTES_PER_NUMBER]
        whole = data.view(np.float16).reshape(rows, dim)
    return MappedShard(rows=rows, dim=dim, whole=whole, raw=raw, offsets=offsets)


def _damaged(path: Path, found: str, expected: str) -> PipeError:
    return PipeError(
        f"found {found} in {path}, expected {expected}; the shard is damaged: remove the file and "
        "its commit record, and it is encoded again."
    )
