"""What a student makes of held-out images, as it is kept: a table and a picture."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, Field

from pipelines.report_page.facts import Table
from student.evaluation.recall import CUTOFFS, Recall, ZeroShot

_MOST_PICTURE_BYTES: Final = 600_000
_PICTURE_SIDE: Final = 1024
"""A picture that is larger is made smaller, so that the page can be sent by mail."""


class _HeadOnImages(BaseModel):
    """A head as ``pipelines.evaluate_images`` keeps it."""

    head: str
    dim: int
    recall: Recall
    zero_shot: ZeroShot | None


class _Images(BaseModel):
    """What a student makes of held-out images, as it is kept."""

    heads: tuple[_HeadOnImages, ...] = Field(min_length=1)


def images_table(kept: Any) -> Table:
    """Retrieval among held-out image-caption pairs.

    Args:
        kept: ``images`` of an evaluation.

    Raises:
        ValueError: It has another shape.
        KeyError: A cutoff is missing.
    """
    heads = _Images.model_validate(kept).heads
    first = heads[0]
    header = ["", "dimensions"]
    header += [f"images @{k}" for k in CUTOFFS] + [f"captions @{k}" for k in CUTOFFS]
    rows = [[f"student {head.head}", f"{head.dim:,}", *_recalls(head.recall)] for head in heads]
    chance = [_percent(first.recall.chance[k]) for k in CUTOFFS]
    rows.append(["chance", "", *chance, *chance])
    note = (
        f"Recall in % among {first.recall.pairs:,} held-out pairs: of images by caption, and of "
        "captions by image."
    )
    if first.zero_shot is not None:
        header.append("zero-shot")
        for row, head in zip(rows, heads, strict=False):
            row.append(_percent(head.zero_shot.accuracy) if head.zero_shot else "")
        rows[-1].append(_percent(first.zero_shot.chance))
        note += (
            f" Zero-shot: {first.zero_shot.images:,} images, {first.zero_shot.classes} classes, "
            f"the largest {_percent(first.zero_shot.largest)}%."
        )
    return Table("Images", tuple(header), tuple(tuple(row) for row in rows), note)


def _recalls(found: Recall) -> Sequence[str]:
    both = (found.images, found.captions)
    return [_percent(by_cutoff[k]) for by_cutoff in both for k in CUTOFFS]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def found_images(path: Path) -> str:
    """The picture of what some captions found.

    Args:
        path: A PNG file, which need not exist.

    Returns:
        A data URL that is not too long to send; empty where there is no such picture.
    """
    if not path.is_file():
        return ""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()
            if len(content) <= _MOST_PICTURE_BYTES:
                return _data_url("png", content)
            smaller = image.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError):
        return ""
    smaller.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=85)
    return _data_url("jpeg", buffer.getvalue())


def _data_url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
