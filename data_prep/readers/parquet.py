"""Parquet: one document per row, read in batches of the columns that are wanted."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.readers.fields import id_and_text, missing_field
from data_prep.readers.locate import source_files

SUFFIXES = (".parquet",)
BATCH_ROWS = 4096


def read_parquet(config: SourceConfig) -> Iterator[tuple[str, str]]:
    """Read parquet files.

    Args:
        config: Path and columns.

    Yields:
        Document id (``file:row`` if the source has no ``id_field``, rows from 0) and text.

    Raises:
        PipeError: A file is not parquet or is damaged, a column is missing or of the wrong type,
            or a text is not UTF-8.
    """
    for name, path in source_files(config, SUFFIXES):
        try:
            yield from _read_file(config, name, path)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise PipeError(
                f"{path} cannot be read as parquet ({reason}); restore it from a copy, or correct "
                f"the path or the format of source {config.name!r}."
            ) from None


def _read_file(config: SourceConfig, name: str, path: Path) -> Iterator[tuple[str, str]]:
    columns = [config.text_field]
    if config.id_field is not None and config.id_field != config.text_field:
        columns.append(config.id_field)
    with pq.ParquetFile(path, memory_map=True) as file:
        _check_columns(file.schema_arrow, config, path)
        row = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            for record in _rows(batch, path, row):
                where = f"{path}, row {row}"
                yield id_and_text(record, config, where, f"{name}:{row}")
                row += 1


def _check_columns(schema: pa.Schema, config: SourceConfig, path: Path) -> None:
    if config.text_field not in schema.names:
        raise missing_field(config.text_field, schema.names, str(path), "text_field")
    if config.id_field is not None and config.id_field not in schema.names:
        raise missing_field(config.id_field, schema.names, str(path), "id_field")
    kind = schema.field(config.text_field).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == "string_view"):
        raise PipeError(
            f"{path}: column {config.text_field!r} is of type {kind}; expected strings. Set "
            f"text_field of source {config.name!r} to a column of strings."
        )


def _rows(batch: pa.RecordBatch, path: Path, first: int) -> list[dict[str, object]]:
    try:
        rows: list[dict[str, object]] = batch.to_pylist()
    except UnicodeDecodeError as error:
        raise PipeError(
            f"{path}, among the {batch.num_rows} rows from {first}: byte {error.start} of a text "
            "is not UTF-8; convert the file's texts to UTF-8."
        ) from None
    return rows
