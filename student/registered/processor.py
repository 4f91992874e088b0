"""Texts and images to the exported model's tensors.

Shape legend: B inputs, L tokens, I images of the batch, S side of an image in pixels.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Self

import torch
from PIL.Image import Image
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    BaseImageProcessor,
    BatchFeature,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from data_prep.errors import PipeError
from data_prep.pairs.config import DEFAULT_PIXELS
from student.image_tokens import IMAGE_END, IMAGE_START, IMAGE_TOKEN, image_text
from student.image_tokens import without_image_tokens as plain
from student.registered.inputs import Piece, pieces_of, pieces_of_messages
from student.registered.pictures import open_picture
from student.vision import ImagePixels

# What says where a checkpoint's files are.
_WHERE = ("cache_dir", "force_download", "token", "revision", "local_files_only", "subfolder")


class JasperDistillProcessor(ProcessorMixin):
    """The tokenizer and the image processor of an exported model.

    Attributes:
        image_tokens: How many tokens an image becomes.
        image_size: Side of the square that an image becomes, in pixels, S.
        max_tokens: Longer inputs are cut off here, images and special tokens included.
        allow_urls: Whether images may be fetched from the network; set it to True to allow it.
        max_pixels: A larger image is refused before it is decoded; set it to allow larger ones.
    """

    allow_urls: bool = False
    max_pixels: int = DEFAULT_PIXELS

    def __init__(
        self,
        image_processor: BaseImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        image_tokens: int = 300,
        image_size: int = 384,
        max_tokens: int = 512,
        **kwargs: Any,
    ) -> None:
        """Put the parts together; see the class for what they are."""
        self.image_tokens = image_tokens
        self.image_size = image_size
        self.max_tokens = max_tokens
        super().__init__(image_processor, tokenizer, **kwargs)
        self.tokenizer.padding_side = "right"

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> Self:
        """Load the processor of an exported model.

        Args:
            pretrained_model_name_or_path: The export's directory, or its name on the hub.
            kwargs: Where it lies, as for all of transformers, and ``model_max_length``.

        Returns:
            The processor; its images are made by Pillow, as in training, and not by torchvision.
        """
        where = {key: kwargs[key] for key in _WHERE if key in kwargs}
        settings, _ = cls.get_processor_dict(pretrained_model_name_or_path, **where)
        own = {key: settings[key] for key in ("image_tokens", "image_size", "max_tokens")}
        image_processor = AutoImageProcessor.from_pretrained(
            pretrained_model_name_or_path, backend="pil", **where
        )
        tokenizer = AutoTokenizer.from_pretrained(pretrained_model_name_or_path, **where)
        tokenizer.model_max_length = kwargs.get("model_max_length") or own["max_tokens"]
        return cls(image_processor, tokenizer, **own)

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        images: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Prepare texts, images, or pairs of an image and a text.

        Args:
            text: B texts.
            images: B images in any form, each in front of its text, if there are texts.
            kwargs: ``max_length`` cuts inputs off earlier; the rest is for other processors.

        Returns:
            input_ids and attention_mask, (B, L), and pixel_values, (I, 3, S, S), if there are
            images.

        Raises:
            PipeError: There are more of one than of the other, or an image cannot be opened.
        """
        texts = [text] if isinstance(text, str) else list(text or [])
        pictures = images if isinstance(images, list | tuple) else [images]
        pictures = [] if images is None else list(pictures)
        if texts and pictures and len(texts) != len(pictures):
            raise PipeError(
                f"found {len(texts)} texts and {len(pictures)} images, expected as many of each, "
                "or of one kind alone."
            )
        columns = [[{"image": one} for one in pictures], texts]
        rows = zip(*(column for column in columns if column), strict=True)
        return self.prepare([pieces_of(list(row)) for row in rows], _max_length(kwargs))

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Prepare conversations, which is what sentence-transformers makes of all inputs.

        There is no template: texts and images follow one another as they stand.

        Args:
            conversation: B conversations, each a list of messages, or one of them.
            chat_template: Not used.
            kwargs: As for a call.

        Returns:
            As for a call.

        Raises:
            PipeError: A part is neither a text nor an image, or an image cannot be opened.
        """
        batch = [conversation] if isinstance(conversation[0], Mapping) else conversation
        kwargs |= kwargs.pop("processor_kwargs", None) or {}
        return self.prepare([pieces_of_messages(one) for one in batch], _max_length(kwargs))

    def prepare(
        self, contents: Sequence[Sequence[Piece]], max_length: int | None = None
    ) -> BatchFeature:
        """Turn pieces of text and images into tensors.

        Args:
            contents: The pieces of each of B inputs, a prompt among them. Where a text spells a
                token that stands for an image, it is taken for ordinary words.
            max_length: Where inputs are cut off; images stay whole, and the texts around them
                give way.

        Returns:
            As for a call.

        Raises:
            PipeError: An image cannot be opened, or does not fit.
            ValueError: A text holds a lone surrogate.
        """
        most = max_length or self.tokenizer.model_max_length
        sources = [
            [piece.source for piece in one if not isinstance(piece, str)] for one in contents
        ]
        image = image_text(self.image_tokens)
        wholes = ["".join(_texts(one, image)) for one in contents]
        for place, text in enumerate(wholes, start=1):
            _require_characters(text, f"input {place} of {len(wholes)}")
        sequences: list[list[int]] = [[] for _ in wholes]
        for seen in (False, True):
            places = [place for place, images in enumerate(sources) if bool(images) == seen]
            if not places:
                continue
            some = [wholes[place] for place in places]
            # Quiet about a length that is cut behind it.
            cut = {"verbose": False} if seen else {"truncation": True, "max_length": most}
            for place, ids in zip(places, self.tokenizer(some, **cut)["input_ids"], strict=True):
                sequences[place] = self._shortened(ids, most) if seen else ids
        features = _padded(sequences, self.tokenizer.pad_token_id or 0)
        if any(sources):
            pictures = (
                self._picture(source, f"input {place + 1} of {len(sources)}")
                for place, images in enumerate(sources)
                for source in images
            )
            features["pixel_values"] = ImagePixels(self.image_processor, self.image_size)(pictures)
        return BatchFeature(features)

    def _picture(self, source: Any, where: str) -> Image:
        """Open an image; what is wrong with it is said of the input that it stands in."""
        try:
            return open_picture(
                source, self.image_size, max_pixels=self.max_pixels, allow_urls=self.allow_urls
            )
        except PipeError as error:
            raise PipeError(f"{where}: {error}") from None

    def _shortened(self, ids: list[int], most: int) -> list[int]:
        """Cut off a sequence with images: its last words go, its images and frame stay."""
        excess = len(ids) - most
        if excess <= 0:
            return ids
        markers = self.tokenizer.convert_tokens_to_ids([IMAGE_START, IMAGE_TOKEN, IMAGE_END])
        kept = {*markers, *self.tokenizer.all_special_ids}
        words = [place for place, token in enumerate(ids) if token not in kept]
        if len(words) < excess:
            raise PipeError(
                f"found images that become {len(ids) - len(words)} tokens, expected at most {most} "
                "in an input; give fewer images at once."
            )
        gone = set(words[len(words) - excess :])
        return [token for place, token in enumerate(ids) if place not in gone]


def _texts(pieces: Sequence[Piece], image: str) -> Iterator[str]:
    """Texts and images as text; texts that meet are joined first, as they may spell a token."""
    for is_text, some in groupby(pieces, key=lambda piece: isinstance(piece, str)):
        if is_text:
            yield plain("".join(piece for piece in some if isinstance(piece, str)))
        else:
            yield from (image for _ in some)


def _require_characters(text: str, where: str) -> None:
    """Refuse half of a pair of surrogates, which is no character and which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: found the lone surrogate U+{ord(text[error.start]):04X}, expected whole "
            "characters; text.encode(errors='replace').decode() puts a question mark in its place."
        ) from None


def _max_length(kwargs: Mapping[str, Any]) -> int | None:
    text = kwargs.get("text_kwargs") or {}
    length: int | None = kwargs.get("max_length", text.get("max_length"))
    return length


def _padded(sequences: Sequence[Sequence[int]], padding: int) -> dict[str, torch.Tensor]:
    width = max((len(ids) for ids in sequences), default=0)
    ids_BL = torch.full((len(sequences), max(width, 1)), padding, dtype=torch.int64)
    mask_BL = torch.zeros_like(ids_BL)
    for line, ids in enumerate(sequences):
        ids_BL[line, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        mask_BL[line, : len(ids)] = 1
    return {"input_ids": ids_BL, "attention_mask": mask_BL}
