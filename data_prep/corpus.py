"""A finished corpus: numbered spans in shards, read by shard or by row."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.errors import PipeError
from data_prep.manifest import CorpusManifest, read_manifest
from data_prep.shards import ROW_GROUP_ROWS, file_digest, read_table, shard_name, text_digest

__all__ = ["Corpus", "CorpusManifest"]


class Corpus:
    """Reads a corpus; cheap to open, safe to hand to a worker process.

    Args:
        directory: Where the corpus is.
        manifest: Its manifest.
        cached_groups: Row groups (of 256 rows) kept decoded for ``take``.
    """

    def __init__(self, directory: Path, manifest: CorpusManifest, cached_groups: int = 256) -> None:
        self.directory = directory
        self.manifest = manifest
        self._cached_groups = cached_groups
        self._checked: set[int] = set()
        self._group: Callable[[int, int], tuple[list[str], list[str]]]
        self._group = lru_cache(maxsize=cached_groups)(self._read_group)

    @classmethod
    def open(cls, directory: Path, cached_groups: int = 256) -> "Corpus":
        """Open a finished corpus.

        Args:
            directory: Where it is.
            cached_groups: Row groups (of 256 rows) kept decoded for ``take``.

        Returns:
            The corpus. Its shards are looked at only when they are read.

        Raises:
            PipeError: There is no finished corpus, or its manifest is damaged.
        """
        return cls(Path(directory), read_manifest(Path(directory)), cached_groups)

    def __reduce__(self) -> tuple[object, tuple[Path, CorpusManifest, int]]:
        # A worker process gets the paths and an empty cache, and checks for itself.
        return (type(self), (self.directory, self.manifest, self._cached_groups))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.manifest.rows

    @property
    def rows_per_shard(self) -> int:
        """Rows of every shard but the last, which may have fewer."""
        return self.manifest.rows_per_shard

    @property
    def held_out_rows(self) -> int:
        """How many of the first rows are never trained on."""
        return self.manifest.held_out_rows

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return len(self.manifest.text_digests)

    @property
    def fingerprint(self) -> str:
        """Digest of everything here that decides vectors."""
        return self.manifest.fingerprint

    def shard_range(self, shard: int) -> range:
        """Say which rows a shard holds.

        Args:
            shard: Its number, from 0.

        Returns:
            Its rows.

        Raises:
            IndexError: There is no such shard.
        """
        if not 0 <= shard < self.num_shards:
            raise IndexError(f"shard {shard} of a corpus of {self.num_shards} shards")
        first = shard * self.rows_per_shard
        return range(first, min(first + self.rows_per_shard, self.rows))

    def shard_path(self, shard: int) -> Path:
        """Say where a shard's file is.

        Args:
            shard: Its number, from 0.

        Returns:
            Its path.
        """
        return self.directory / shard_name(shard)

    def read_shard(self, shard: int) -> pa.Table:
        """Read a shard with all its columns.

        Args:
            shard: Its number, from 0.

        Returns:
            A table with the columns of ``data_prep.shards.SCHEMA``, one row per row of the shard.

        Raises:
            PipeError: The file is missing or damaged, or has another number of rows.
        """
        return self._read(shard, None)

    def texts(self, shard: int) -> tuple[list[str], list[str]]:
        """Read a shard's texts and their roles.

        Args:
            shard: Its number, from 0.

        Returns:
            Texts and roles, in row order.

        Raises:
            PipeError: As for ``read_shard``.
        """
        table = self._read(shard, ["text", "role"])
        return table["text"].to_pylist(), table["role"].to_pylist()

    def text_digest(self, shard: int) -> str:
        """Give the digest of a shard's texts and roles that the manifest records.

        Args:
            shard: Its number, from 0.

        Returns:
            A SHA-256 digest, in hexadecimal.
        """
        return self.manifest.text_digests[shard]

    def checked_texts(self, shard: int) -> tuple[list[str], list[str]]:
        """Read a shard's texts and their roles, and compare them with the manifest.

        Args:
            shard: Its number, from 0.

        Returns:
            Texts and roles, in row order.

        Raises:
            PipeError: They have changed since the corpus was made, or cannot be read.
        """
        texts, roles = self.texts(shard)
        self._require_digest(shard, text_digest(texts, roles))
        return texts, roles

    def check_shard(self, shard: int) -> None:
        """Compare a shard's texts and roles with the manifest, in the memory of one row group.

        Args:
            shard: Its number, from 0.

        Raises:
            PipeError: As for ``checked_texts``.
        """
        rows, digest = file_digest(self.shard_path(shard))
        self._require_rows(shard, rows, len(self.shard_range(shard)))
        self._require_digest(shard, digest)

    def take(self, rows: npt.ArrayLike) -> tuple[list[str], list[str]]:
        """Read any rows.

        A shard is compared with the manifest before its first row is given, once for each opened
        corpus and process.

        Args:
            rows: Row numbers, in any order, repeated or not; shape (n,).

        Returns:
            Texts and roles in the order asked for.

        Raises:
            IndexError: A row is outside the corpus.
            PipeError: A shard is missing or damaged, or its texts have changed since the corpus
                was made.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.rows):
            raise IndexError(f"rows from 0 to {self.rows - 1}, found {wanted.min()}-{wanted.max()}")
        texts = [""] * len(wanted)
        roles = [""] * len(wanted)
        shards, offsets = np.divmod(wanted, self.rows_per_shard)
        groups, places = np.divmod(offsets, ROW_GROUP_ROWS)
        # Row group by row group, so that each is decoded once whatever the cache holds.
        order = np.lexsort((groups, shards))
        steps = zip(
            order.tolist(),
            shards[order].tolist(),
            groups[order].tolist(),
            places[order].tolist(),
            strict=True,
        )
        for position, shard, group, place in steps:
            group_texts, group_roles = self._group(shard, group)
            texts[position] = group_texts[place]
            roles[position] = group_roles[place]
        return texts, roles

    def _read_group(self, shard: int, group: int) -> tuple[list[str], list[str]]:
        if shard not in self._checked:
            self.check_shard(shard)
            self._checked.add(shard)
        table = read_table(self.shard_path(shard), ["text", "role"], group)
        rows = self.shard_range(shard)[group * ROW_GROUP_ROWS : (group + 1) * ROW_GROUP_ROWS]
        self._require_rows(shard, table.num_rows, len(rows))
        return table["text"].to_pylist(), table["role"].to_pylist()

    def _read(self, shard: int, columns: list[str] | None) -> pa.Table:
        rows = len(self.shard_range(shard))
        table = read_table(self.shard_path(shard), columns)
        self._require_rows(shard, table.num_rows, rows)
        return table

    def _require_digest(self, shard: int, found: str) -> None:
        if found != self.text_digest(shard):
            raise PipeError(
                f"{self.shard_path(shard)} does not hold the texts that the manifest records; "
                "remove the file and run `pipe prep` again, which makes the same shard."
            )

    def _require_rows(self, shard: int, found: int, expected: int) -> None:
        if found != expected:
            raise PipeError(
                f"{self.shard_path(shard)} holds {found} rows where the manifest expects "
                f"{expected}; remove the file and run `pipe prep` again."
            )
