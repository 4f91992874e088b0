"""Every text of evaluation sets, whatever their shape: for comparison, never for training."""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.errors import PipeError, first_line


def texts_of(place: str) -> Iterator[tuple[str, str]]:
    """Read every string of every file of evaluation sets.

    Args:
        place: A directory (searched at every depth, without hidden files) or a file: JSON lines,
            TSV or CSV, plain text (a text a line), each plain or gzipped, or Parquet.

    Yields:
        The file below the directory, for example ``sts/STS12.jsonl``, and a string in it, in a
        fixed order. Ids and labels are among them; they do no harm.

    Raises:
        PipeError: There is no such file, none that is of these kinds, or one cannot be read.
    """
    found = _files(place)
    for name, path, reader in found:
        try:
            for text in reader(path):
                yield name, text
        except (OSError, EOFError, zlib.error, ValueError, csv.Error, pa.ArrowException) as error:
            raise PipeError(
                f"{path}, of the evaluation texts in {place}, cannot be read "
                f"({first_line(error)}); expected {_KINDS}. Mend it, or take it out."
            ) from None
    if not found:
        there = "no such kind of file" if Path(place).expanduser().exists() else "no such file"
        raise PipeError(
            f"decontaminate names {place}, found {there} there; expected a directory or a file of "
            f"evaluation texts: {_KINDS}."
        )


def state_of(place: str) -> list[tuple[str, int, int]]:
    """Say which files ``texts_of`` reads, and in which state they are.

    Args:
        place: As for ``texts_of``.

    Returns:
        Name, size and time of the last change of each.
    """
    states = [(name, path.stat()) for name, path, _ in _files(place)]
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def _files(place: str) -> list[tuple[str, Path, Callable[[Path], Iterator[str]]]]:
    root = Path(place).expanduser()
    found = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    names = [path.relative_to(root.parent if root.is_file() else root) for path in found]
    return [
        (name.as_posix(), path, reader)
        for name, path in zip(names, found, strict=True)
        if (reader := _reader(path.name.lower())) is not None
        and not any(part.startswith(".") for part in name.parts)
        and not path.name.endswith(_INSTRUCTION)
    ]


def _lines(path: Path) -> TextIO:
    # Lines end at \n alone: a JSON string may hold U+2028, and CSV a carriage return.
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return path.open("r", encoding="utf-8-sig", newline="\n")


def _json_lines(path: Path) -> Iterator[str]:
    with _lines(path) as lines:
        for line in lines:
            if line.strip():
                yield from _strings(json.loads(line))


def _whole_json(path: Path) -> Iterator[str]:
    with _lines(path) as lines:
        yield from _strings(json.load(lines))


def _tabs(path: Path) -> Iterator[str]:
    with _lines(path) as lines:
        for line in lines:
            yield from line.rstrip("\r\n").split("\t")


def _commas(path: Path) -> Iterator[str]:
    with _lines(path) as lines:
        for row in csv.reader(lines):
            yield from row


def _plain(path: Path) -> Iterator[str]:
    with _lines(path) as lines:
        yield from lines


def _parquet(path: Path) -> Iterator[str]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1024):
            yield from _strings(batch.to_pylist())


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        children: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for child in children:
            yield from _strings(child)


_READERS: dict[tuple[str, ...], Callable[[Path], Iterator[str]]] = {
    (".jsonl", ".ndjson"): _json_lines,
    (".json",): _whole_json,
    (".tsv",): _tabs,
    (".csv",): _commas,
    (".txt",): _plain,
    (".parquet",): _parquet,
}
_INSTRUCTION = ".instruction.txt"
"""Says what an evaluation set's task is, and is no text of it."""

_KINDS = "JSON lines, JSON, TSV, CSV or plain text, each plain or gzipped, or Parquet"


def _reader(name: str) -> Callable[[Path], Iterator[str]] | None:
    stem = name.removesuffix(".gz")
    for suffixes, reader in _READERS.items():
        if stem.endswith(suffixes):
            return reader
    return None
