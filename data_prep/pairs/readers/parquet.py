"""Parquet with a column of images, as ``datasets`` writes it, and one of captions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.errors import PipeError, first_line
from data_prep.pairs.config import PairsConfig, PairSourceConfig
from data_prep.pairs.readers.fields import captions_in, field, is_held_out, text_field
from data_prep.pairs.readers.files import files_of
from data_prep.pairs.records import Found, Skipped
from data_prep.readers.fields import missing_field

SUFFIXES = (".parquet",)
BATCH_ROWS = 32
_FIELDS = (
    "image_field",
    "caption_field",
    "id_field",
    "label_field",
    "split_field",
    "group_field",
)


def read_parquet(source: PairSourceConfig, config: PairsConfig) -> Iterator[Found | Skipped]:
    """Read parquet files.

    Args:
        source: Path and columns. An image is bytes, or a struct of ``bytes`` and ``path`` (the
            Image feature of ``datasets``); a path alone is not followed.
        config: The pairs' settings.

    Yields:
        The rows in order. A row without an image's bytes is skipped.

    Raises:
        PipeError: A file is not parquet or is damaged, or lacks a column.
    """
    for name, path in files_of(source, SUFFIXES):
        try:
            yield from _read_file(source, name, path)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise PipeError(
                f"{path} cannot be read as parquet ({first_line(error)}); restore it from a copy, "
                f"or correct the path or the format of source {source.name!r}."
            ) from None


def _read_file(source: PairSourceConfig, name: str, path: Path) -> Iterator[Found | Skipped]:
    with pq.ParquetFile(path) as file:
        wanted = {
            setting: column
            for setting in _FIELDS
            if (column := getattr(source, setting)) is not None
        }
        for setting, column in wanted.items():
            if column not in file.schema_arrow.names:
                raise missing_field(
                    column,
                    file.schema_arrow.names,
                    str(path),
                    f"{setting} of source {source.name!r}",
                )
        row = 0
        columns = list(dict.fromkeys(wanted.values()))
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            for record in batch.to_pylist():
                yield _read_row(record, source, f"{name}:{row}", f"{path}, row {row}")
                row += 1


def _read_row(
    record: dict[str, Any], source: PairSourceConfig, row_name: str, where: str
) -> Found | Skipped:
    image = field(record, "image_field", source, where)
    path = None
    if isinstance(image, Mapping):
        path, image = image.get("path"), image.get("bytes")
    if image is None:
        return Skipped("missing_image", f"{where}: there are no bytes of an image.")
    if not isinstance(image, bytes):
        raise PipeError(
            f"{where}: column {source.image_field!r} holds a value of type "
            f"{type(image).__name__}; expected bytes, or a struct of bytes and path. Set "
            f"image_field of source {source.name!r} to the column that holds the images."
        )
    image_name = path if isinstance(path, str) and path else row_name
    return Found(
        doc_id=text_field(record, "id_field", source, where) or row_name,
        name=image_name,
        where=where,
        captions=captions_in(field(record, "caption_field", source, where), source, where),
        data=image,
        label=text_field(record, "label_field", source, where),
        held_out=is_held_out(record, image_name, source, where),
        group=text_field(record, "group_field", source, where),
    )
