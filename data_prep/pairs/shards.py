"""One shard of images on disk: a parquet file of the encoded images, as they were found."""

import sys
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.errors import PipeError, first_line
from data_prep.files import atomic_write
from data_prep.pairs.records import Pair

ROW_GROUP_ROWS = 16
"""Images that are read together when any one of them is read; few, as they are large."""

SCHEMA = pa.schema(
    [
        pa.field("image", pa.binary(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=True),
        pa.field("sha256", pa.binary(32), nullable=False),
    ]
)


def image_shard_name(shard: int) -> str:
    """Name a shard's file of images.

    Args:
        shard: Its number, from 0.

    Returns:
        For example ``images-00001.parquet``.
    """
    return f"images-{shard:05d}.parquet"


def image_digest(rows: Iterable[tuple[bytes, str, str | None]]) -> str:
    """Digest what a shard says of its images.

    Args:
        rows: For each row the SHA-256 of the image's bytes, the image's name and its label.

    Returns:
        The SHA-256 digest, in hexadecimal; it vouches for every byte of every image.
    """
    state = sha256()
    for digest, name, label in rows:
        content = [text.encode() for text in (name, *(() if label is None else (label,)))]
        state.update(digest)
        state.update(" ".join(str(len(text)) for text in content).encode() + b"\n")
        state.update(b"".join(content))
    return state.hexdigest()


def pairs_digest(pairs: Iterable[Pair]) -> str:
    """Digest the images of a shard before it is written.

    Args:
        pairs: Its rows, in order.

    Returns:
        What ``image_digest`` gives for the shard.
    """
    return image_digest((pair.digest, pair.name, pair.label) for pair in pairs)


def write_images(path: Path, pairs: Sequence[Pair]) -> None:
    """Write a shard of images atomically, in the memory of a few; equal pairs give equal bytes.

    Args:
        path: Where the file belongs.
        pairs: Its rows, in order.

    Raises:
        PipeError: An image is not what it was when the sources were read.
    """
    with (
        atomic_write(path) as temporary,
        pq.ParquetWriter(
            temporary, SCHEMA, compression="none", use_dictionary=False, write_statistics=False
        ) as writer,
    ):
        for first in range(0, len(pairs), ROW_GROUP_ROWS):
            group = pairs[first : first + ROW_GROUP_ROWS]
            columns = [
                [_bytes_of(pair) for pair in group],
                [pair.name for pair in group],
                [pair.label for pair in group],
                [pair.digest for pair in group],
            ]
            arrays = [pa.array(*each) for each in zip(columns, SCHEMA.types, strict=True)]
            writer.write_table(pa.table(arrays, schema=SCHEMA))


def _bytes_of(pair: Pair) -> bytes:
    data = pair.place.read()
    if sha256(data).digest() != pair.digest:
        raise PipeError(
            f"{pair.place.path} ({pair.name}) has changed since it was read a moment ago; leave "
            "the sources as they are while a corpus is made, and run the same command again."
        )
    return data


class ImageShard:
    """An opened shard of images.

    Args:
        path: Its file.
        digest: What ``image_digest`` must give for it.

    Attributes:
        rows: Number of rows.
        labels: What each image shows, where its source says so.

    Raises:
        PipeError: The file is missing or damaged, or describes other images than it should.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
            table = self._file.read(columns=["name", "label", "sha256"], use_threads=False)
            names: list[str] = table["name"].to_pylist()
            labels: list[str | None] = table["label"].to_pylist()
            digests: list[bytes] = table["sha256"].to_pylist()
        except FileNotFoundError:
            raise PipeError(f"{path} is missing; {_REMEDY}") from None
        except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
            raise self._damaged(first_line(error)) from None
        if image_digest(zip(digests, names, labels, strict=True)) != digest:
            raise self._damaged("it does not describe the images that images.json records")
        # Many shards stay open, so what is kept of each is small.
        self.rows = len(digests)
        self.labels = [None if label is None else sys.intern(label) for label in labels]
        self._digests = b"".join(digests)

    def group(self, number: int) -> list[bytes]:
        """Read a row group's images.

        Args:
            number: Its number, from 0.

        Returns:
            The bytes of its images, in row order, each compared with its digest.

        Raises:
            PipeError: The file is damaged.
        """
        try:
            table = self._file.read_row_group(number, columns=["image"], use_threads=False)
            images: list[bytes] = table["image"].to_pylist()
        except (pa.ArrowException, OSError, IndexError) as error:
            raise self._damaged(first_line(error)) from None
        first = number * ROW_GROUP_ROWS
        for row, image in enumerate(images, start=first):
            if sha256(image).digest() != self._digests[32 * row : 32 * (row + 1)]:
                raise self._damaged(f"the image in its row {row} has changed")
        return images

    def _damaged(self, reason: str) -> PipeError:
        return PipeError(f"{self.path} is damaged ({reason}); remove it, and {_REMEDY}")


_REMEDY = "run `pipe prep` again, which makes the same shard."
