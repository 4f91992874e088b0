"""What decides a student's vision encoder: its tower and its pooler."""

from math import isqrt
from typing import Literal, Self

from pydantic import Field, model_validator

from data_prep.config import Settings

Pooler = Literal["adaptive", "projection"]


class NewTowerConfig(Settings):
    """The shape of a SigLIP vision tower that begins with random weights.

    Attributes:
        hidden_size: Width of a patch's state.
        layers: Transformer layers.
        heads: Attention heads.
        intermediate_size: Width inside a layer's feed-forward part.
        image_size: Side of the square that an image becomes, in pixels.
        patch_size: Side of a patch.
    """

    hidden_size: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    image_size: int = Field(gt=0)
    patch_size: int = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size} and there are {self.heads} heads; expected a "
                "multiple of them"
            )
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size is {self.image_size} and patch_size {self.patch_size}; expected a "
                "whole number of patches"
            )
        return self


class VisionConfig(Settings):
    """The vision encoder and the pooler behind it (paper, section 2.2).

    Attributes:
        start: A SigLIP or SigLIP2 checkpoint of fixed resolution: a directory,
            ``package:NAME/sub/directory``, or a hub name.
        revision: The hub revision.
        sha256: Digest that the weights file must have, if given.
        new: Instead of ``start``, the shape of a tower that begins with random weights.
        pooler: How patches become tokens of the text encoder's width: ``adaptive``, the averages
            without weights of the released Jasper, or ``projection``, averages of neighbouring
            patches and a learned linear layer.
        tokens: How many tokens an image becomes.
        license: The start's licence, stated in the model card.
    """

    start: str | None = None
    revision: str | None = None
    sha256: str | None = None
    new: NewTowerConfig | None = None
    pooler: Pooler = "adaptive"
    tokens: int = Field(default=300, gt=0)
    license: str = "unknown"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.start is None) == (self.new is None):
            raise ValueError(
                "vision has "
                + ("neither start nor new" if self.start is None else "both start and new")
                + "; expected one of them, a checkpoint or the shape of a new tower"
            )
        if self.new is not None and self.pooler == "projection":
            side = self.new.image_size // self.new.patch_size
            if isqrt(self.tokens) ** 2 != self.tokens or self.tokens > side**2:
                raise ValueError(
                    f"tokens is {self.tokens} with the pooler projection, which averages {side} by "
                    f"{side} patches down to a smaller square; expected a square number up to "
                    f"{side**2}"
                )
        return self
