"""Parquet: one record per row, read in batches of the columns that are wanted."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.characters import are_plain
from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.pieces import Piece
from data_prep.readers.fields import missing_field
from data_prep.readers.found import Finds, Found, found_in
from data_prep.readers.locate import SourceFile, source_files
from data_prep.readers.opening import is_remote, opened_raw, reading
from data_prep.readers.shapes import fields_of

SUFFIXES = (".parquet",)
BATCH_ROWS = 1024
PIECE_BYTES = 8 * 2**20
"""Row groups of so many bytes, decoded, make a piece."""


def pieces(config: SourceConfig) -> list[Piece]:
    """Divide parquet files into pieces: consecutive row groups of some 8 MiB.

    Args:
        config: Path and columns.

    Returns:
        The pieces. Only the files' footers are read. A file that cannot be read and that
        ``on_error`` says to skip is one piece, so that reading it counts it.

    Raises:
        PipeError: There is no such file, one is not parquet or is damaged, or a column is missing
            or of the wrong type.
    """
    found: list[Piece] = []
    for file in source_files(config, SUFFIXES):
        try:
            found.extend(_pieces_of_file(config, file))
        except PipeError:
            if config.on_error == "stop":
                raise
            found.append(Piece(file.name, file.path, size=file.size))
    return found


def read(config: SourceConfig, piece: Piece) -> Finds:
    """Read row groups of a parquet file.

    Args:
        config: Path and columns.
        piece: The file and the row groups.

    Yields:
        Document id (``file:row`` if the source has no ``id_field``, rows from 0), text and role;
        an error for a row whose text is not UTF-8 or that is not a record with the texts wanted.

    Raises:
        PipeError: The file is not parquet or is damaged, or a column is missing or of the wrong
            type.
    """
    with _opened(config, piece.path) as file:
        groups = range(file.num_row_groups)[piece.first : piece.stop]
        row = sum(file.metadata.row_group(group).num_rows for group in range(piece.first))
        columns = [name for name in _columns(config) if name in file.schema_arrow.names]
        batches = file.iter_batches(
            BATCH_ROWS, row_groups=list(groups), columns=columns, use_threads=False
        )
        for batch in batches:
            if (sound := _sound(batch, config, piece, row)) is not None:
                yield from sound
                row += batch.num_rows
                continue
            for record in _rows(batch, piece.path, row):
                if isinstance(record, PipeError):
                    yield record
                else:
                    where = f"{piece.path}, row {row}"
                    yield from found_in(record, config, where, f"{piece.name}:{row}")
                row += 1


def _pieces_of_file(config: SourceConfig, found: SourceFile) -> Iterator[Piece]:
    wanted = set(_columns(config))
    with _opened(config, found.path) as file:
        first = size = rows = 0
        for group in range(file.num_row_groups):
            metadata = file.metadata.row_group(group)
            columns = (metadata.column(number) for number in range(metadata.num_columns))
            size += sum(
                column.total_uncompressed_size
                for column in columns
                if column.path_in_schema.split(".")[0] in wanted
            )
            rows += metadata.num_rows
            if size >= PIECE_BYTES or group == file.num_row_groups - 1:
                # A row of several texts is as many documents as its lists are long.
                yield Piece(
                    found.name, found.path, first, group + 1, size, None if config.take else rows
                )
                first, size, rows = group + 1, 0, 0


def _columns(config: SourceConfig) -> list[str]:
    columns = [config.text_field] if config.take is None else list(fields_of(config))
    if config.id_field is not None and config.id_field not in columns:
        columns.append(config.id_field)
    return columns


@contextmanager
def _opened(config: SourceConfig, path: str) -> Iterator[pq.ParquetFile]:
    """Open a file and look at its columns; what fails meanwhile is a sentence."""
    with ExitStack() as stack:
        stack.enter_context(reading(path, lambda: "be read as parquet"))
        source = stack.enter_context(opened_raw(path)) if is_remote(path) else path
        file = stack.enter_context(pq.ParquetFile(source, pre_buffer=False, buffer_size=2**20))
        _check_columns(file.schema_arrow, config, path)
        yield file


def _check_columns(schema: pa.Schema, config: SourceConfig, path: str) -> None:
    texts = [name for name in _columns(config) if name in schema.names and name != config.id_field]
    if not texts:
        raise missing_field(config.text_field, schema.names, path, "text_field")
    if config.id_field is not None and config.id_field not in schema.names:
        raise missing_field(config.id_field, schema.names, path, "id_field")
    for name in texts:
        kind = schema.field(name).type
        if config.take is not None and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            kind = kind.value_type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (
            pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == "string_view"
        ):
            raise PipeError(
                f"{path}: column {name!r} is of type {schema.field(name).type}; expected strings. "
                f"Set text_field of source {config.name!r} to a column of strings"
                + ("." if config.take else ", or take for columns of lists of texts.")
            )


def _sound(
    batch: pa.RecordBatch, config: SourceConfig, piece: Piece, first: int
) -> list[Found] | None:
    """The documents of a batch, column by column; None where a row needs to be looked at."""
    wanted = [config.text_field] + ([config.id_field] if config.id_field is not None else [])
    columns = [batch[name] for name in wanted if name in batch.schema.names]
    if config.take is not None or any(
        column.null_count or not pa.types.is_string(column.type) for column in columns
    ):
        return None
    try:
        texts, *ids = (column.to_pylist() for column in columns)
    except UnicodeDecodeError:
        return None
    names = ids[0] if ids else [f"{piece.name}:{first + row}" for row in range(len(texts))]
    return list(map(Found, names, texts, repeat(None), are_plain(columns[0])))


def _rows(batch: pa.RecordBatch, path: str, first: int) -> list[dict[str, Any] | PipeError]:
    try:
        rows: list[dict[str, Any] | PipeError] = batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            return [
                PipeError(
                    f"{path}, row {first}: byte {error.start} of a text is not UTF-8; convert the "
                    "file's texts to UTF-8."
                )
            ]
        # One of them at least; which one is found by halves.
        half = batch.num_rows // 2
        parts = ((batch.slice(0, half), first), (batch.slice(half), first + half))
        return [row for part, start in parts for row in _rows(part, path, start)]
    return rows
