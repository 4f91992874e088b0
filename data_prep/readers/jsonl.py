"""JSON lines, plain or compressed: one record per line."""

import json
from typing import Any

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.pieces import Piece
from data_prep.readers.found import Finds, found_in
from data_prep.readers.locate import file_pieces
from data_prep.readers.opening import lines_of, suffixes_of

SUFFIXES = suffixes_of(".jsonl", ".ndjson")


def pieces(config: SourceConfig) -> list[Piece]:
    """Divide JSON lines into pieces: one per file.

    Args:
        config: Path and fields.

    Returns:
        The pieces.

    Raises:
        PipeError: There is no such file.
    """
    return file_pieces(config, SUFFIXES)


def read(config: SourceConfig, piece: Piece) -> Finds:
    """Read a file of JSON lines.

    Args:
        config: Path and fields.
        piece: The file.

    Yields:
        Document id (``file:line`` if the source has no ``id_field``, lines from 1), text and
        role; an error for a line that is too long, not UTF-8, not JSON, or not a record with the
        fields wanted. Blank lines are passed over.

    Raises:
        PipeError: The file cannot be read further; names the line.
    """
    for number, line in lines_of(piece.path):
        if isinstance(line, PipeError):
            yield line
        elif line.strip():
            where = f"{piece.path}, line {number}"
            try:
                record = _decode(line, where, number)
            except PipeError as error:
                yield error
            else:
                yield from found_in(record, config, where, f"{piece.name}:{number}")


def _decode(line: bytes, where: str, number: int) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise PipeError(
            f"{where}: byte {error.start} of the line is not UTF-8; convert the file to UTF-8."
        ) from None
    except (ValueError, RecursionError) as error:
        raise PipeError(
            f"{where}: not JSON ({error}); expected one record per line. Mend or remove the line."
        ) from None
