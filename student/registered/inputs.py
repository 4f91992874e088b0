"""What users hand to the exported model, as pieces of text and images in their order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_prep.errors import PipeError

_EXPECTED = (
    "a text, an image (Pillow image, path, bytes or array), a list of these, or a dictionary of "
    '"text" and "image"'
)


@dataclass(frozen=True)
class ImageSource:
    """An image that is not opened yet.

    Attributes:
        source: Any of the forms that ``open_picture`` takes.
    """

    source: Any


Piece = str | ImageSource


def is_one(given: Any) -> bool:
    """Say whether what is given is one input, and not several.

    Args:
        given: A text, an image or a dictionary, or a list, an array of texts, or anything else
            that holds inputs.

    Returns:
        Whether it is one; what holds nothing at all is, and ``pieces_of`` says what is wrong.
    """
    if isinstance(given, np.ndarray):
        # Several images of one size are an array of four dimensions; texts have no numbers.
        return given.ndim == 0 or (given.dtype.kind not in "OU" and given.ndim < 4)
    single = str | Image.Image | Path | bytes | bytearray | memoryview | Mapping
    return isinstance(given, single) or not isinstance(given, Iterable)


def pieces_of(given: Any) -> list[Piece]:
    """Take an input apart.

    A string on its own is a text, whatever it looks like; one below ``image`` is a path or an
    address.

    Args:
        given: A text, an image, a list of these, or a dictionary whose values are these.

    Returns:
        Its texts and images in their order.

    Raises:
        PipeError: It is something else, or holds nothing.
    """
    if isinstance(given, str):
        return [given]
    if isinstance(given, Image.Image | Path | bytes | bytearray | memoryview | np.ndarray):
        return [ImageSource(given)]
    if isinstance(given, Mapping | Sequence) and not given:
        raise PipeError(f"found an input that holds nothing ({given!r}), expected {_EXPECTED}.")
    if isinstance(given, Mapping):
        return [piece for kind, value in given.items() for piece in _of_kind(kind, value)]
    if isinstance(given, Sequence):
        return [piece for part in given for piece in pieces_of(part)]
    raise PipeError(
        f"found an input of the type {type(given).__name__}, expected {_EXPECTED}; convert it."
    )


def pieces_of_messages(messages: Sequence[Mapping[str, Any]]) -> list[Piece]:
    """Take a conversation apart, which is what sentence-transformers makes of any input.

    Args:
        messages: Messages with ``content``, a text or a list of parts with ``type``; a prompt is
            the first one.

    Returns:
        All texts and images in their order; the roles do not count.

    Raises:
        PipeError: A part is neither a text nor an image.
    """
    pieces: list[Piece] = []
    for message in messages:
        content = message.get("content", "")
        if isinstance(content, str):
            pieces.append(content)
            continue
        for part in content:
            kind = part.get("type", "text")
            pieces += _of_kind(kind, part.get(kind, part.get("url", part.get("path"))))
    return pieces


def _of_kind(kind: Any, value: Any) -> list[Piece]:
    if kind not in {"text", "image"}:
        raise PipeError(
            f"found an input with the key {kind!r}, expected {_EXPECTED}; this model reads "
            "nothing else."
        )
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise PipeError(
            f"found an input whose {kind!r} holds nothing, expected one or more; leave it out."
        )
    if kind == "image":
        return [ImageSource(one) for one in values]
    for one in values:
        if not isinstance(one, str):
            raise PipeError(
                f"found an object of the type {type(one).__name__} as a text, expected a string."
            )
    return list(values)
