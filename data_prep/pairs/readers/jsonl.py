"""JSON lines beside the images that they name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.errors import PipeError
from data_prep.files import read_bounded
from data_prep.pairs.config import PairsConfig, PairSourceConfig
from data_prep.pairs.readers.fields import captions_in, field, is_held_out, text_field
from data_prep.pairs.readers.files import files_of
from data_prep.pairs.records import Found, Place, Skipped

SUFFIXES = (".jsonl", ".ndjson")
MOST_BYTES = 256 << 20
"""Bytes that an image's file may have."""


def read_jsonl(source: PairSourceConfig, config: PairsConfig) -> Iterator[Found | Skipped]:
    """Read JSON lines, each of which names an image and has its caption.

    Args:
        source: Path and fields. Names of images count from the directory of the JSONL file, and
            lead nowhere outside it, not even through a link.
        config: The pairs' settings.

    Yields:
        The lines in order. An image that is missing, cannot be read or lies outside is skipped.

    Raises:
        PipeError: A line is not JSON, or lacks a field.
    """
    files = files_of(source, SUFFIXES)
    for _, path in files:
        base = path.parent.resolve()
        for number, record in _records(path):
            yield _read_line(record, base, source, f"{path}, line {number}")


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                    if not isinstance(record, dict):
                        raise ValueError(f"a JSON {type(record).__name__}")
                    yield number, record
    except OSError as error:
        raise PipeError(
            f"{path} cannot be read after line {number} ({error.strerror}); restore it from a copy."
        ) from None
    except (ValueError, RecursionError) as error:
        raise PipeError(
            f"{path}, line {number}: not a JSON object in UTF-8 ({error}); expected one object per "
            "line. Mend or remove the line."
        ) from None


def _read_line(
    record: dict[str, Any], base: Path, source: PairSourceConfig, where: str
) -> Found | Skipped:
    name = field(record, "image_field", source, where)
    if not isinstance(name, str) or not name:
        return Skipped("missing_image", f"{where}: it names no image; expected a file's name.")
    captions = captions_in(field(record, "caption_field", source, where), source, where)
    label = text_field(record, "label_field", source, where)
    group = text_field(record, "group_field", source, where)
    doc_id = text_field(record, "id_field", source, where)
    held_out = is_held_out(record, name, source, where)
    try:
        path = (base / name).resolve()
        if not path.is_relative_to(base):
            return Skipped(
                "outside",
                f"{where}: the image {name!r} lies outside {base}, where nothing is read; put it "
                "below the JSONL file's directory.",
            )
        data = read_bounded(path, MOST_BYTES)
    except FileNotFoundError:
        return Skipped("missing_image", f"{where}: the image {name!r} is missing from {base}.")
    except (OSError, ValueError, RuntimeError) as error:
        return Skipped("unreadable_image", f"{where}: the image {name!r} cannot be read ({error}).")
    return Found(
        doc_id=doc_id or name,
        name=name,
        where=f"{where}, {name}",
        captions=captions,
        data=data,
        place=Place(path, 0, len(data)),
        label=label,
        held_out=held_out,
        group=group,
    )
