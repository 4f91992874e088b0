"""A finished corpus of pairs: captions like any corpus, and the image of every row."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.pairs.manifest import ImagesManifest, read_images_manifest
from data_prep.pairs.shards import ROW_GROUP_ROWS, ImageShard, image_shard_name

OPEN_SHARDS = 64


class PairCorpus:
    """Reads a corpus of pairs; cheap to open, safe to hand to a worker process.

    Args:
        captions: The captions, one per row.
        images: The record of the images.

    Attributes:
        captions: The captions: spans of role ``passage``, so that a store can be filled for them.
    """

    def __init__(self, captions: Corpus, images: ImagesManifest) -> None:
        self.captions = captions
        self._images = images
        self._shard: Callable[[int], ImageShard]
        self._shard = lru_cache(maxsize=OPEN_SHARDS)(self._open_shard)

    @classmethod
    def open(cls, directory: Path) -> "PairCorpus":
        """Open a finished corpus of pairs.

        Args:
            directory: Where it is.

        Returns:
            The corpus. Its shards are looked at only when they are read.

        Raises:
            PipeError: There is no finished corpus of pairs, or its records are damaged.
        """
        captions = Corpus.open(Path(directory))
        return cls(captions, read_images_manifest(captions.directory, captions.fingerprint))

    def __reduce__(self) -> tuple[object, tuple[Corpus, ImagesManifest]]:
        # A worker process opens the files for itself.
        return (type(self), (self.captions, self._images))

    @property
    def rows(self) -> int:
        """Number of pairs."""
        return self.captions.rows

    @property
    def held_out_rows(self) -> int:
        """How many of the first rows are never trained on; their images and captions differ."""
        return self.captions.held_out_rows

    @property
    def fingerprint(self) -> str:
        """Digest of the captions and of the bytes of the images."""
        return self._images.fingerprint

    def images(self, rows: npt.ArrayLike) -> list[bytes]:
        """Read the images of some rows.

        Args:
            rows: Row numbers, in any order, repeated or not; shape (n,).

        Returns:
            The encoded files as they were found, in the order asked for.

        Raises:
            IndexError: A row is outside the corpus.
            PipeError: A shard is missing, or an image is not what it was when it was written.
        """
        shards, offsets = self._places(rows)
        groups, places = np.divmod(offsets, ROW_GROUP_ROWS)
        found: list[bytes] = [b""] * len(shards)
        current: tuple[int, int] | None = None
        images: list[bytes] = []
        # Row group by row group, so that each is read once.
        for position in np.lexsort((groups, shards)).tolist():
            wanted = (int(shards[position]), int(groups[position]))
            if wanted != current:
                images = self._shard(wanted[0]).group(wanted[1])
                current = wanted
            found[position] = images[places[position]]
        return found

    def labels(self, rows: npt.ArrayLike) -> list[str | None]:
        """Read what the images of some rows show, where their source says so.

        Args:
            rows: As for ``images``.

        Returns:
            Labels in the order asked for; None for a row without one.

        Raises:
            IndexError: A row is outside the corpus.
            PipeError: A shard is missing or damaged.
        """
        shards, offsets = self._places(rows)
        return [
            self._shard(shard).labels[offset]
            for shard, offset in zip(shards.tolist(), offsets.tolist(), strict=True)
        ]

    def _places(self, rows: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        wanted = np.asarray(rows, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.rows):
            raise IndexError(f"rows from 0 to {self.rows - 1}, found {wanted.min()}-{wanted.max()}")
        shards, offsets = np.divmod(wanted, self.captions.rows_per_shard)
        return shards, offsets

    def _open_shard(self, shard: int) -> ImageShard:
        path = self.captions.directory / image_shard_name(shard)
        opened = ImageShard(path, self._images.image_digests[shard])
        expected = len(self.captions.shard_range(shard))
        if opened.rows != expected:
            raise PipeError(
                f"{path} holds {opened.rows} rows where the manifest expects {expected}; remove "
                "the file and run `pipe prep` again."
            )
        return opened
