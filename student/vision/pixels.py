"""Images to pixel values, as a checkpoint's own image processor does it, without torchvision."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from transformers import AutoImageProcessor, BaseImageProcessor, SiglipImageProcessorPil

from data_prep.errors import PipeError, first_line


@dataclass(frozen=True)
class ImagePixels:
    """What a reader process needs to turn images into pixel values; it can be pickled.

    Attributes:
        processor: The checkpoint's image processor, computing with Pillow.
        image_size: Side of the square that an image becomes, in pixels, S.
    """

    processor: BaseImageProcessor
    image_size: int

    @classmethod
    def new(cls, image_size: int) -> Self:
        """The processor of a tower that begins with random weights: values from -1 to 1.

        Args:
            image_size: Side of the square that an image becomes, in pixels.
        """
        half = [0.5, 0.5, 0.5]
        size = {"height": image_size, "width": image_size}
        return cls(SiglipImageProcessorPil(size=size, image_mean=half, image_std=half), image_size)

    @classmethod
    def load(cls, directory: Path, image_size: int) -> Self:
        """Load the image processor that lies beside a tower.

        Args:
            directory: With ``preprocessor_config.json``.
            image_size: Side of the square that the tower takes, in pixels.

        Returns:
            The processor.

        Raises:
            PipeError: The directory has none, or one that makes images of another size.
        """
        try:
            # torchvision resizes a little differently, and would be one more package.
            processor = AutoImageProcessor.from_pretrained(
                directory, backend="pil", local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
            raise PipeError(
                f"{directory} holds no image processor that transformers can load "
                f"({first_line(error)}); expected preprocessor_config.json beside the vision "
                "tower's weights, so take a complete checkpoint."
            ) from None
        pixels = cls(processor, image_size)
        pixels._require_size(directory)
        return pixels

    def __call__(self, images: Iterable[Image.Image]) -> torch.Tensor:
        """Turn images into what the tower takes.

        Each is taken only when the one before has become pixel values, and is let go then, so of
        images that are made on demand no two are in memory together.

        Args:
            images: I Pillow images of any mode and size.

        Returns:
            pixel_values, (I, 3, S, S), float32.
        """
        # map, and not a loop, whose variable would hold an image while the next one is made.
        values = list(map(self._values, images))
        return torch.cat(values) if values else torch.empty(0, 3, self.image_size, self.image_size)

    def _values(self, image: Image.Image) -> torch.Tensor:
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        values: torch.Tensor = self.processor([rgb], return_tensors="pt")["pixel_values"]
        return values.float()

    def save(self, directory: Path) -> None:
        """Write ``preprocessor_config.json``.

        Args:
            directory: An existing directory.
        """
        self.processor.save_pretrained(directory)

    def _require_size(self, directory: Path) -> None:
        """Try the processor on an image that is no square and smaller than any tower's."""
        expected = (1, 3, self.image_size, self.image_size)
        try:
            found = tuple(self([Image.new("RGB", (7, 5))]).shape)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise PipeError(
                f"the image processor in {directory} does not turn an image into pixel values "
                f"({first_line(error)}); expected that of a SigLIP checkpoint of fixed resolution."
            ) from None
        if found != expected:
            raise PipeError(
                f"the image processor in {directory} makes pixel values of shape {found} of an "
                f"image, and the vision tower takes {expected}; expected files of one checkpoint, "
                "so copy preprocessor_config.json again."
            )
