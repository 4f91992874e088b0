"""The vision encoder: pixel values to tokens of the text encoder's width (paper, section 2.2)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self, cast

import torch
from PIL.Image import Image
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from data_prep.config import Settings
from data_prep.errors import PipeError, first_line
from data_prep.files import atomic_directory, read_json, write_json
from student.vision.pixels import ImagePixels
from student.vision.tokens import VisionTokens
from student.vision.tower import load_tower, new_tower
from student.vision_config import Pooler, VisionConfig
from student.weights import own_storage
from teacher_cache.models import model_directory

_RECORD = "vision.json"
_POOLER = "pooler.safetensors"


class VisionRecord(Settings):
    """What a saved vision encoder's directory says of the part behind the tower.

    Attributes:
        format_version: Version of this layout.
        pooler: The pooler's name.
        tokens: How many tokens an image becomes.
        hidden: Width of a token.
    """

    format_version: int = Field(default=1, ge=1, le=1)
    pooler: Pooler
    tokens: int = Field(gt=0)
    hidden: int = Field(gt=0)


class VisionEncoder(VisionTokens):
    """A SigLIP tower, a pooler, and the image processor in front of them.

    Attributes:
        processor: Images to pixel values; it can be pickled and needs no tower.
    """

    def __init__(
        self,
        tower: PreTrainedModel,
        processor: ImagePixels,
        *,
        kind: Pooler,
        tokens: int,
        hidden: int,
        seed: int = 0,
    ) -> None:
        """Put a pooler behind a tower.

        Args:
            tower: The tower.
            processor: The image processor of the same checkpoint.
            kind: The pooler's name.
            tokens: How many tokens an image becomes.
            hidden: Width of a token.
            seed: Decides the pooler's first weights, if it has any.

        Raises:
            PipeError: The pooler cannot make that many tokens.
        """
        super().__init__(tower, kind=kind, tokens=tokens, hidden=hidden, seed=seed)
        self.processor = processor

    @classmethod
    def from_start(cls, config: VisionConfig, hidden: int, seed: int) -> Self:
        """Build the vision encoder as it is before training.

        Args:
            config: The recipe's.
            hidden: Width of the text encoder's tokens, H.
            seed: Decides every weight that is not loaded.

        Returns:
            The encoder, in evaluation mode.

        Raises:
            PipeError: The start is not there or cannot be loaded, or the pooler cannot make that
                many tokens.
        """
        if config.new is not None:
            tower = new_tower(config.new, seed)
            processor = ImagePixels.new(config.new.image_size)
        else:
            directory = model_directory(
                cast(str, config.start), config.revision, config.sha256, "student.vision.start"
            )
            tower = load_tower(directory)
            processor = ImagePixels.load(directory, int(tower.config.image_size))
        encoder = cls(
            tower, processor, kind=config.pooler, tokens=config.tokens, hidden=hidden, seed=seed
        )
        return encoder.eval()

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Load a saved vision encoder.

        Args:
            directory: What ``save`` wrote.

        Returns:
            The encoder, in evaluation mode.

        Raises:
            PipeError: The directory is not a saved vision encoder, or a file in it is broken.
        """
        try:
            record = VisionRecord.model_validate(read_json(directory / _RECORD))
        except ValidationError as error:
            raise PipeError(
                f"{directory / _RECORD} does not describe a vision encoder "
                f"({error.error_count()} wrong fields); restore it or train the stage again."
            ) from None
        tower = load_tower(directory)
        processor = ImagePixels.load(directory, int(tower.config.image_size))
        encoder = cls(
            tower, processor, kind=record.pooler, tokens=record.tokens, hidden=record.hidden
        )
        if encoder.pooler.state_dict():
            try:
                encoder.pooler.load_state_dict(load_file(directory / _POOLER))
            except (OSError, RuntimeError, SafetensorError) as error:
                raise PipeError(
                    f"{directory / _POOLER} does not hold the pooler's weights "
                    f"({first_line(error)}); restore it or train the stage again."
                ) from None
        return encoder.eval()

    def save(self, directory: Path) -> None:
        """Write the encoder in safetensors; the directory appears whole or not at all.

        Args:
            directory: Where it belongs; a directory there is replaced.
        """
        record = VisionRecord(pooler=self.kind, tokens=self.tokens, hidden=self.hidden)
        with atomic_directory(directory) as unfinished:
            weights = own_storage(self.tower.state_dict())
            self.tower.save_pretrained(unfinished, state_dict=weights)
            self.processor.save(unfinished)
            pooler = own_storage(self.pooler.state_dict())
            if pooler:
                save_file(pooler, unfinished / _POOLER)
            write_json(unfinished / _RECORD, record.model_dump(mode="json"))

    def images_within(self, tokens: int) -> int:
        """How many images a group may have, by their patches or, if those are fewer, their tokens.

        Args:
            tokens: Bound on a group's tokens.

        Returns:
            At least 1.
        """
        patches = (self.image_size // int(self.tower.config.patch_size)) ** 2
        return max(1, tokens // max(patches, self.tokens))

    def pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """Turn images into what ``forward`` takes.

        Args:
            images: I Pillow images of any mode and size.

        Returns:
            pixel_values, (I, 3, S, S), float32.
        """
        return self.processor(images)
