"""Images as users hand them over, opened: Pillow images, files, bytes, and addresses if asked."""

import base64
import binascii
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from data_prep.errors import PipeError, first_line
from data_prep.files import read_bounded
from data_prep.pairs.config import DEFAULT_PIXELS, MOST_PIXELS
from data_prep.pairs.images import decode_rgb, upright_rgb
from student.registered.fetching import fetch

_MOST_BYTES: Final = 100_000_000
_FORMS = "a Pillow image, a path, the bytes of an image file, or an array (H, W, 3) of uint8"


def open_picture(
    source: Any, at_least: int, *, max_pixels: int = DEFAULT_PIXELS, allow_urls: bool = False
) -> Image.Image:
    """Open an image in any of the forms that users have it in.

    Args:
        source: A Pillow image, a path, the bytes of an image file, a ``data:`` address, an array
            (H, W, 3) of uint8, or, if allowed, an ``http`` address.
        at_least: The side that the image will be scaled to, in pixels.
        max_pixels: Most pixels it may have, up to ``MOST_PIXELS``.
        allow_urls: Whether what is on the network may be fetched.

    Returns:
        The image, upright, in mode RGB.

    Raises:
        PipeError: It is nothing of that, cannot be read, is damaged or too large, or lies on the
            network and that is not allowed.
    """
    max_pixels = min(max_pixels, MOST_PIXELS)
    if isinstance(source, Image.Image):
        _check_size(*source.size, max_pixels)
        return _opened(source, at_least)
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise PipeError(
                f"found an array of {source.dtype} and shape {source.shape} as an image, expected "
                "uint8 and (height, width, 3); convert it."
            )
        _check_size(source.shape[1], source.shape[0], max_pixels)
        return _opened(Image.fromarray(source), at_least)
    return decode_rgb(_read(source, allow_urls), max_pixels=max_pixels, at_least=at_least)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if not 0 < width * height <= max_pixels:
        raise PipeError(
            f"found an image of {width:,} x {height:,} pixels, expected 1 to {max_pixels:,} in "
            "all; scale it down."
        )


def _opened(image: Image.Image, at_least: int) -> Image.Image:
    try:
        return upright_rgb(image, at_least)
    except PipeError:
        raise
    # Pillow decodes here, and what a decoder makes of damaged bytes is any error at all.
    except Exception as error:
        raise PipeError(
            f"found an image that cannot be decoded ({first_line(error)}), expected a whole one; "
            "restore it from a copy."
        ) from None


def _read(source: Any, allow_urls: bool) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str) and source.startswith("data:"):
        return _inline(source)
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return _fetch(source, allow_urls)
    if not isinstance(source, str | Path):
        raise PipeError(
            f"found an object of the type {type(source).__name__} as an image, expected {_FORMS}."
        )
    try:
        return read_bounded(Path(source), _MOST_BYTES)
    except (OSError, ValueError) as error:
        shown = str(source) if len(str(source)) < 200 else f"{str(source)[:200]}..."
        raise PipeError(
            f"the image {shown} cannot be read ({first_line(error)}), expected {_FORMS}."
        ) from None


def _inline(address: str) -> bytes:
    head, _, content = address.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError("no base64")
        return base64.b64decode(content, validate=True)
    except (ValueError, binascii.Error) as error:
        raise PipeError(
            f"found {address[:40]!r}... as an image ({first_line(error)}), expected data:image/..."
            ";base64, and the file's bytes."
        ) from None


def _fetch(address: str, allow_urls: bool) -> bytes:
    if not allow_urls:
        raise PipeError(
            f"found the address {address} as an image, and nothing is fetched from the network "
            'unless allow_urls is set; fetch it yourself, or, if a text is meant, give {"text": '
            "...}."
        )
    return fetch(address, _MOST_BYTES)
