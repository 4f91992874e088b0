"""Rows of image-caption pairs as training batches: images and their captions' pooled states.

Shape legend: B pairs, S side of an image in pixels, H pooled state.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from PIL.Image import Image

from data_prep.pairs.config import MOST_PIXELS
from data_prep.pairs.corpus import PairCorpus
from data_prep.pairs.images import decode_rgb
from student.batches import DistillBatch
from student.config import CAPTIONS_TEACHER
from student.crops import Crops
from student.row_set import Rows
from student.token_group import TokenGroup
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
        crops: What is done to an image first.
    """

    pairs: Path
    store: Path | RemoteStore
    tokens: tuple[int, ...]
    pixels: ImagePixels
    group_images: int
    crops: Crops

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

    def read(self, rows: Rows, step: int) -> DistillBatch:
        """As ``RowReader``; ``target`` is captions_BH."""
        captions_BH = self.store.read_states(CAPTIONS_TEACHER, rows)
        source = self.source
        images = (
            source.crops(decoded(data, source.pixels), step, int(row))
            for data, row in zip(self.pairs.images(rows), rows, strict=True)
        )
        return DistillBatch(
            groups=list(image_groups(images, source.tokens, source.pixels, source.group_images)),
            pooled=None,
            target=torch.from_numpy(captions_BH),
            rows=torch.from_numpy(rows),
        )


def decoded(data: bytes, pixels: ImagePixels) -> Image:
    """Decode an image as far as the vision encoder can see.

    Args:
        data: An encoded image.
        pixels: Says how large the vision encoder's images are.

    Returns:
        The image in RGB, perhaps at a part of its size.

    Raises:
        PipeError: It cannot be decoded.
    """
    return decode_rgb(data, max_pixels=MOST_PIXELS, at_least=pixels.image_size)


def image_groups(
    images: Iterable[Image], tokens: tuple[int, ...], pixels: ImagePixels, group_images: int
) -> Iterator[TokenGroup]:
    """Put images into groups, each image an input of its own.

    Images are taken one at a time, and only when their group is, so those that are decoded on
    demand are in memory one at a time.

    Args:
        images: B images.
        tokens: The token ids that an image is for the text encoder.
        pixels: From images to the vision encoder's input.
        group_images: Images in a group.

    Yields:
        Groups of consecutive images.
    """
    left = iter(images)
    while number := len(pixel_values := pixels(islice(left, group_images))):
        yield TokenGroup(
            input_ids=torch.tensor(tokens, dtype=torch.int64).expand(number, -1),
            attention_mask=torch.ones((number, len(tokens)), dtype=torch.int64),
            pixel_values=pixel_values,
        )
