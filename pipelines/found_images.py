"""A picture of what captions find: one line a caption, the nearest images, the right one framed."""

import io
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from data_prep.files import atomic_write
from data_prep.pairs.config import MOST_PIXELS
from data_prep.pairs.images import decode_rgb

_SIDE = 112
_GAP = 10
_TEXT_WIDTH = 260
_TEXT_COLUMNS = 38
_TEXT_LINES = 6
_RIGHT = (22, 140, 60)
_OTHER = (190, 190, 190)


def contact_sheet(
    path: Path,
    captions: Sequence[str],
    found_CK: npt.NDArray[np.integer],
    images: Sequence[bytes],
) -> None:
    """Draw what captions found.

    Args:
        path: The PNG file to write.
        captions: C captions; the right image of caption c is ``images[c]``.
        found_CK: For each the places of the K images found, the nearest first.
        images: Encoded image files.

    Raises:
        PipeError: An image cannot be decoded.
    """
    count, hits = found_CK.shape
    width = _TEXT_WIDTH + hits * (_SIDE + _GAP) + 2 * _GAP
    sheet = Image.new("RGB", (width, count * (_SIDE + _GAP) + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for line, caption in enumerate(captions):
        top = _GAP + line * (_SIDE + _GAP)
        words = "\n".join(wrap(caption, _TEXT_COLUMNS)[:_TEXT_LINES])
        draw.text((_GAP, top + _GAP), words, fill="black", font=font)
        for place, image in enumerate(found_CK[line]):
            left = _TEXT_WIDTH + _GAP + place * (_SIDE + _GAP)
            picture = decode_rgb(images[image], max_pixels=MOST_PIXELS, at_least=_SIDE)
            sheet.paste(ImageOps.pad(picture, (_SIDE, _SIDE), color="white"), (left, top))
            box = (left - 2, top - 2, left + _SIDE + 1, top + _SIDE + 1)
            right = image == line
            draw.rectangle(box, outline=_RIGHT if right else _OTHER, width=4 if right else 1)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
