"""One image file: refused with a reason, or decoded to 8-bit RGB as it is meant to be seen.

Only common formats of pixels are opened: never SVG, PostScript or anything else that is a program,
and no TIFF, whose library writes what it finds to the terminal. Of an animation, the first frame
counts. The orientation that a camera noted is applied, what is transparent stands on white, and 16
bits are scaled to 8.
"""

import logging
import warnings
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from data_prep.errors import PipeError, first_line

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".ppm")

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow logs some errors besides raising them; without a handler, Python prints them.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
_BAND_PIXELS = 1 << 20
"""Converted together, where a conversion needs more memory than the image."""
_SPARE = 2
"""An image is reduced to no less than so many times the side wanted, which keeps it sharp."""


class BadImageError(PipeError):
    """An image that cannot be used.

    Attributes:
        reason: A word or two, for counting: ``empty_file``, ``not_an_image``, ``damaged``,
            ``too_many_pixels``, ``too_small`` or ``unknown_range``.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def decode_rgb(
    data: bytes, *, max_pixels: int, at_least: int | None = None, min_side: int = 1
) -> Image.Image:
    """Decode an image file.

    Args:
        data: The file's bytes.
        max_pixels: Most pixels it may have; a larger one is refused before it is decoded.
        at_least: The side wanted, in pixels. A JPEG may then be decoded at a half, a quarter or
            an eighth of its size, whose sides are no shorter than this, and any image whose
            sides are four times as long or longer is reduced to twice this or a little more: less
            work and memory for an image that is scaled down anyway. None keeps every pixel.
        min_side: Smallest width and height it may have.

    Returns:
        The image in mode RGB.

    Raises:
        BadImageError: It is no image, damaged, too large or too small; a ``PipeError``.
    """
    if not data:
        raise BadImageError(
            "empty_file", "found a file of no bytes, expected an image; leave it out."
        )
    # Pillow tells of oddities by warnings, which mean nothing to who reads a log.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                _check_size(image.size, max_pixels, min_side)
                if at_least is not None:
                    image.draft(None, (at_least, at_least))
                upright = upright_rgb(image, at_least)
        except BadImageError:
            raise
        except Image.DecompressionBombError:
            raise BadImageError(
                "too_many_pixels",
                f"found an image of more pixels than {max_pixels:,}; scale it down or leave it "
                "out.",
            ) from None
        except UnidentifiedImageError:
            raise BadImageError(
                "not_an_image",
                f"found {_start(data)}, expected an image ({', '.join(FORMATS)}); convert it or "
                "leave it out.",
            ) from None
        except Exception as error:
            # What a decoder makes of damaged bytes is any error at all.
            raise BadImageError(
                "damaged",
                f"found an image that cannot be decoded ({first_line(error)}), expected a whole "
                "one; restore it from a copy or leave it out.",
            ) from None
    return upright


def upright_rgb(image: Image.Image, at_least: int | None = None) -> Image.Image:
    """Bring an opened image to what ``decode_rgb`` makes of its file.

    Args:
        image: An image of any mode.
        at_least: As for ``decode_rgb``.

    Returns:
        The image in mode RGB, turned as the camera noted; itself where that changes nothing.

    Raises:
        BadImageError: Its pixels have no known range.
    """
    image.load()
    seen = _reduced(_seen(image), at_least)
    rgb = seen if seen.mode == "RGB" else seen.convert("RGB")
    return _turned(rgb, _orientation(image))


def _check_size(size: tuple[int, int], max_pixels: int, min_side: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise BadImageError(
            "too_many_pixels",
            f"found an image of {width:,} x {height:,} pixels, expected at most {max_pixels:,} in "
            "all; scale it down or leave it out.",
        )
    if min(size) < min_side:
        raise BadImageError(
            "too_small",
            f"found an image of {width:,} x {height:,} pixels, expected at least {min_side} each "
            "way; leave it out.",
        )


def _start(data: bytes) -> str:
    return f"{len(data):,} bytes that begin with {data[:12]!r}"


def _orientation(image: Image.Image) -> int:
    """The orientation that the camera noted; damaged notes are none."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _reduced(image: Image.Image, at_least: int | None) -> Image.Image:
    """Average squares of pixels of an image that is far larger than it has to be."""
    factor = 1 if at_least is None else min(image.size) // (_SPARE * at_least)
    return image if factor < 2 else image.reduce(factor)


def _seen(image: Image.Image) -> Image.Image:
    """Bring any mode to 8-bit RGB or grey."""
    if image.mode.startswith("I"):
        return _from_integers(image)
    if image.mode == "F":
        raise BadImageError(
            "unknown_range",
            "found an image of floating-point pixels, whose black and white nothing tells, "
            "expected 8 or 16 bits; convert it or leave it out.",
        )
    if image.mode in _ALPHA or "transparency" in image.info:
        return _on_white(image)
    return image if image.mode in {"L", "RGB"} else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    for box in _bands(image.size):
        band = image.crop(box).convert("RGBA")
        white.paste(band, box[:2], band)
    return white


def _from_integers(image: Image.Image) -> Image.Image:
    """Scale grey values of 16 bits to 8; ``convert`` would cut them off at 255."""
    grey = Image.new("L", image.size)
    for box in _bands(image.size):
        values_HW = np.asarray(image.crop(box)).astype(np.int64)
        scaled_HW = ((values_HW * 255 + 32767) // 65535).astype(np.uint8)
        grey.paste(Image.fromarray(scaled_HW), box[:2])
    return grey


def _bands(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Divide an image into boxes of whole rows."""
    width, height = size
    rows = max(1, _BAND_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)
