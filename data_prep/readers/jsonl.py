"""JSON lines, plain or gzipped: one object per line, one document per object."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.readers.fields import id_and_text
from data_prep.readers.locate import source_files

SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")


def read_jsonl(config: SourceConfig) -> Iterator[tuple[str, str]]:
    """Read JSON lines.

    Args:
        config: Path and fields.

    Yields:
        Document id (``file:line`` if the source has no ``id_field``, lines from 1) and text.
        Blank lines are passed over.

    Raises:
        PipeError: A line is not UTF-8, not JSON, or not an object with the fields wanted, or a
            file cannot be read; named with file and line.
    """
    for name, path in source_files(config, SUFFIXES):
        number = 0
        try:
            with _open(path) as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        where = f"{path}, line {number}"
                        record = _decode(line, where, number)
                        yield id_and_text(record, config, where, f"{name}:{number}")
        except (OSError, EOFError, zlib.error) as error:
            raise PipeError(
                f"{path} cannot be read after line {number} ({error}); restore it from a copy."
            ) from None


def _open(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _decode(line: bytes, where: str, number: int) -> dict[str, object]:
    try:
        record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise PipeError(
            f"{where}: byte {error.start} of the line is not UTF-8; convert the file to UTF-8."
        ) from None
    except (ValueError, RecursionError) as error:
        raise PipeError(
            f"{where}: not JSON ({error}); expected one object per line. Mend or remove the line."
        ) from None
    if not isinstance(record, dict):
        raise PipeError(
            f"{where}: found a JSON {type(record).__name__}; expected an object with named fields."
        )
    return record
