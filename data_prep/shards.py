"""One shard of the corpus on disk: a parquet file of a fixed range of rows, and its digest."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.errors import PipeError
from data_prep.files import atomic_write

ROW_GROUP_ROWS = 256
"""Rows that are decoded together when any one of them is read."""

SCHEMA = pa.schema(
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("first_sentence", pa.int32(), nullable=False),
        pa.field("num_sentences", pa.int32(), nullable=False),
        pa.field("words_shuffled", pa.bool_(), nullable=False),
    ]
)


def shard_name(shard: int) -> str:
    """Name a shard's file.

    Args:
        shard: Its number, from 0.

    Returns:
        For example ``spans-00001.parquet``.
    """
    return f"spans-{shard:05d}.parquet"


def text_digest(texts: Iterable[str], roles: Iterable[str]) -> str:
    """Digest what a shard's vectors are made from: its texts and their roles, in order.

    Args:
        texts: The shard's texts.
        roles: As many roles.

    Returns:
        The SHA-256 digest, in hexadecimal. Lengths are part of it, so that no two different lists
        of texts are digested alike.
    """
    return _pairs_digest(zip(texts, roles, strict=True))


def _pairs_digest(pairs: Iterable[tuple[str, str]]) -> str:
    digest = TextDigest()
    digest.update((text.encode(), role) for text, role in pairs)
    return digest.hexdigest()


class TextDigest:
    """What ``text_digest`` gives, for texts that come one after the other."""

    def __init__(self) -> None:
        self._state = sha256()

    def update(self, pairs: Iterable[tuple[bytes, str]]) -> None:
        """Take further texts in.

        Args:
            pairs: Texts, encoded in UTF-8, and their roles.
        """
        for content, role in pairs:
            self._state.update(f"{role} {len(content)}\n".encode())
            self._state.update(content)

    def hexdigest(self) -> str:
        """Give the digest of all texts so far.

        Returns:
            The SHA-256 digest, in hexadecimal.
        """
        return self._state.hexdigest()


def write_shard(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write a shard atomically; equal rows give equal bytes, however they are divided.

    Args:
        path: Where the file belongs.
        tables: Its rows, in order, as tables of ``SCHEMA``; each but the last has a multiple of
            ``ROW_GROUP_ROWS`` rows, and one at a time is in memory.
    """
    with (
        atomic_write(path) as temporary,
        pq.ParquetWriter(
            temporary,
            SCHEMA,
            compression="zstd",
            use_dictionary=["source", "role"],
            write_statistics=False,
        ) as writer,
    ):
        for table in tables:
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)


def read_table(path: Path, columns: list[str] | None = None, group: int | None = None) -> pa.Table:
    """Read a shard or one of its row groups.

    Args:
        path: The shard's file.
        columns: The columns wanted; None reads all.
        group: The row group wanted; None reads all rows.

    Returns:
        The rows, in order. One thread reads, so it is safe in a forked worker.

    Raises:
        PipeError: The file is missing, damaged or lacks a column.
    """
    with _opened(path, columns) as (file, wanted):
        if group is None:
            return file.read(columns=wanted, use_threads=False)
        return file.read_row_group(group, columns=wanted, use_threads=False)


def file_digest(path: Path) -> tuple[int, str]:
    """Digest the texts and roles of a shard, in the memory of one row group.

    Args:
        path: The shard's file.

    Returns:
        Its number of rows, and what ``text_digest`` gives for its texts and roles.

    Raises:
        PipeError: As for ``read_table``.
    """
    with _opened(path, ["text", "role"]) as (file, wanted):
        groups = (
            file.read_row_group(group, columns=wanted, use_threads=False)
            for group in range(file.num_row_groups)
        )
        pairs = (
            pair
            for table in groups
            for pair in zip(table["text"].to_pylist(), table["role"].to_pylist(), strict=True)
        )
        return file.metadata.num_rows, _pairs_digest(pairs)


@contextmanager
def _opened(path: Path, columns: list[str] | None) -> Iterator[tuple[pq.ParquetFile, list[str]]]:
    """Open a shard's file and name the columns wanted; what fails meanwhile is a sentence."""
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            wanted = columns or SCHEMA.names
            if missing := [name for name in wanted if name not in file.schema_arrow.names]:
                raise PipeError(
                    f"{path} lacks the columns {', '.join(missing)}; it is no shard of a corpus. "
                    "Remove it and run `pipe prep` again."
                )
            yield file, wanted
    except FileNotFoundError:
        raise PipeError(
            f"{path} is missing; run `pipe prep` again, which makes the same shard."
        ) from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PipeError(
            f"{path} is damaged ({reason}); remove it and run `pipe prep` again, which makes the "
            "same shard."
        ) from None
