"""What decides a corpus of pairs: its sources, how many, which are held out, which are refused."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from data_prep.config import Settings

MOST_PIXELS = 178_956_970
"""Pixels of the largest image that Pillow opens."""
DEFAULT_PIXELS = 50_000_000
"""Pixels of the largest image, where nothing else is asked for."""


class PairSourceConfig(Settings):
    """One source of image-caption pairs.

    Attributes:
        name: Stands in the corpus beside every caption.
        path: A file, a directory or a glob; empty for ``shapes``, which is built in.
        format: A row of ``data_prep.pairs.sources.FORMATS``; ``auto`` goes by the suffix.
        image_field: The field or column that holds the image (parquet) or names its file (jsonl).
        caption_field: The field that holds the caption: a string, a list of strings (each makes
            a pair) or a conversation, of which the first answer is the caption.
        id_field: The field that names a pair; without one, the image's name does.
        label_field: The field that holds what the image shows, for zero-shot evaluation.
        split_field: The field that says which split a pair belongs to.
        held_out_split: The splits that are held out; a string or a list.
        held_out_pattern: A glob such as ``test_*``; images with such a name are held out.
        group_field: The field that names what is held out together, such as a book's chapter.
        license: Stated in the manifest and in the student's model card.
        max_pairs: Reads no more than so many records, in the source's own order.
        image_size: Side of the images that ``shapes`` draws, in pixels.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    path: str = ""
    format: str = "auto"
    image_field: str = "image"
    caption_field: str = "caption"
    id_field: str | None = None
    label_field: str | None = None
    split_field: str | None = None
    held_out_split: tuple[str, ...] = ("test",)
    held_out_pattern: str | None = None
    group_field: str | None = None
    license: str | None = None
    max_pairs: int | None = Field(default=None, gt=0)
    image_size: int = Field(default=64, ge=32, le=1024)

    @field_validator("held_out_split", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @property
    def has_split(self) -> bool:
        """Whether the source says itself which of its pairs are held out."""
        return self.split_field is not None or self.held_out_pattern is not None


class PairsConfig(Settings):
    """How a corpus of pairs is made (paper, section 2.5).

    Attributes:
        sources: Where pairs come from.
        pairs: How many are wanted, those held out among them; None takes all.
        seed: Decides, with each pair's identity, every random choice.
        rows_per_shard: Rows in a shard; a multiple of 64.
        held_out: How many pairs training never sees.
        min_side: Smallest width and height of an image, in pixels.
        max_pixels: Most pixels of an image; a larger one is refused before it is decoded.
        on_error: Whether an image or a caption of no use is left out and counted, or stops.
    """

    sources: tuple[PairSourceConfig, ...] = Field(min_length=1)
    pairs: int | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0)
    rows_per_shard: int = Field(default=4096, gt=0, multiple_of=64)
    held_out: int = Field(default=0, ge=0)
    min_side: int = Field(default=8, gt=0)
    max_pixels: int = Field(default=DEFAULT_PIXELS, gt=0, le=MOST_PIXELS)
    on_error: Literal["skip", "stop"] = "skip"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"source names are {names}; expected each to be different")
        if self.pairs is not None and self.held_out >= self.pairs:
            raise ValueError(
                f"held_out is {self.held_out} and pairs {self.pairs}; expected fewer held out, so "
                "that some are left to train on"
            )
        return self
