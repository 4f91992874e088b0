"""Rows of image-caption pairs as training batches: images and their captions' pooled states.

Shape legend: B pairs, S side of an image in pixels, H pooled state.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from data_prep.pairs.config import MOST_PIXELS
from data_prep.pairs.corpus import PairCorpus
from data_prep.pairs.images import decode_rgb
from student.batches import DistillBatch
from student.config import CAPTIONS_TEACHER
from student.model import TokenGroup
from student.row_set import Rows
from student.vision import ImagePixels
from teacher_cache.open_store import RemoteStore, open_store
from teacher_cache.store import TeacherStore


@dataclass(frozen=True)
class PairRows:
    """Where images and their captions' pooled states are read from; a ``RowSource``.

    Attributes:
        pairs: The directory of the pairs.
        store: The directory of the captions' store, or where it lies and the cache for it.
        tokens: The token ids that an image is for the text encoder.
        pixels: From images to the vision encoder's input.
        group_images: Images in a group.
    """

    pairs: Path
    store: Path | RemoteStore
    tokens: tuple[int, ...]
    pixels: ImagePixels
    group_images: int

    def open(self) -> "PairReader":
        """As ``RowSource``."""
        pairs = PairCorpus.open(self.pairs)
        return PairReader(self, pairs, open_store(self.store, pairs.captions))


@dataclass(frozen=True)
class PairReader:
    """Reads images and their captions' pooled states; a ``RowReader``.

    Attributes:
        source: What is read.
        pairs: The image-caption pairs.
        store: The captions' store.
    """

    source: PairRows
    pairs: PairCorpus
    store: TeacherStore

    def expect(self, rows: Rows) -> None:
        """As ``RowReader``."""
        self.store.expect(rows, [CAPTIONS_TEACHER])

    def read(self, rows: Rows) -> DistillBatch:
        """As ``RowReader``; ``target`` is captions_BH."""
        captions_BH = self.store.read_states(CAPTIONS_TEACHER, rows)
        return DistillBatch(
            groups=image_groups(
                self.pairs.images(rows),
                self.source.tokens,
                self.source.pixels,
                self.source.group_images,
            ),
            pooled=None,
            target=torch.from_numpy(captions_BH),
            rows=torch.from_numpy(rows),
        )


def image_groups(
    files: list[bytes], tokens: tuple[int, ...], pixels: ImagePixels, group_images: int
) -> list[TokenGroup]:
    """Decode images and put them into groups, each image an input of its own.

    Args:
        files: B encoded images.
        tokens: The token ids that an image is for the text encoder.
        pixels: From images to the vision encoder's input.
        group_images: Images in a group.

    Returns:
        Groups of consecutive images.

    Raises:
        PipeError: An image cannot be decoded.
    """
    groups = []
    for first in range(0, len(files), group_images):
        some = files[first : first + group_images]
        side = pixels.image_size
        images = [decode_rgb(data, max_pixels=MOST_PIXELS, at_least=side) for data in some]
        groups.append(
            TokenGroup(
                input_ids=torch.tensor(tokens, dtype=torch.int64).expand(len(some), -1),
                attention_mask=torch.ones((len(some), len(tokens)), dtype=torch.int64),
                pixel_values=pixels(images),
            )
        )
    return groups
