"""The files of evaluation sets: lines to validated rows, and a sentence for a line that is not."""

import gzip
import math
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError

from data_prep.errors import PipeError


def _name(value: object) -> object:
    # Labels and ids are names, and many files write names as numbers.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(_name)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Pair(_Row):
    """A line of ``sts/NAME.jsonl``: two sentences and the human score of their similarity."""

    sentence1: str
    sentence2: str
    score: FiniteFloat


class Document(_Row):
    """A line of ``corpus.jsonl``: a document's id, its title (which may be empty) and text."""

    id: Name = Field(alias="_id")
    title: str = ""
    text: str


class Query(_Row):
    """A line of ``queries.jsonl``: a query's id and text."""

    id: Name = Field(alias="_id")
    text: str


class Labelled(_Row):
    """A line of a classification split: a text and its label."""

    text: str
    label: Name


RowType = TypeVar("RowType", bound=_Row)


def read_jsonl(path: Path, row: type[RowType]) -> tuple[RowType, ...]:
    """Read a JSONL file into validated rows; blank lines are passed over.

    Args:
        path: The file, gzipped if its name ends in ``.gz``.
        row: What each line must be.

    Returns:
        The rows, in file order; at least one.

    Raises:
        PipeError: The file is missing or empty, or a line is not UTF-8, not JSON, or not a ``row``.
    """
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            try:
                rows.append(row.model_validate_json(line))
            except ValidationError as error:
                raise PipeError(_explain(error, row, f"{path}, line {number}")) from None
    if not rows:
        raise PipeError(f"{path} is empty; expected a JSON object on each line.")
    return tuple(rows)


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read relevance judgements: query id, document id and gain, separated by tabs.

    Args:
        path: The file; its first line is a header if its third column is not a number.

    Returns:
        For each query, in file order, the gain of each judged document.

    Raises:
        PipeError: The file is missing, holds no judgement, or a line has not three columns
            or contradicts another.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_lines(path), start=1):
        columns = line.rstrip("\r\n").split("\t")
        gain = _gain(columns)
        if gain is not None:
            judged = qrels.setdefault(columns[0], {})
            if judged.setdefault(columns[1], gain) != gain:
                raise PipeError(
                    f"{path}, line {number}: judges query {columns[0]!r} and document "
                    f"{columns[1]!r} as {gain}, and before as {judged[columns[1]]}; expected one "
                    "judgement."
                )
        elif line.strip() and number > 1:
            raise PipeError(
                f"{path}, line {number}: found {line.strip()!r}; expected query id, document id "
                "and a whole number, separated by tabs."
            )
    if not qrels:
        raise PipeError(f"{path} holds no judgement; expected query id, document id and score.")
    return qrels


def _gain(columns: list[str]) -> int | None:
    try:
        gain = float(columns[2]) if len(columns) == 3 else math.nan
    except ValueError:
        return None
    return int(gain) if gain.is_integer() else None


def read_text(path: Path) -> str:
    """Read a file that holds one text, such as an instruction.

    Args:
        path: The file.

    Returns:
        The text without the space around it.

    Raises:
        PipeError: The file is missing, empty, or not UTF-8.
    """
    text = "\n".join(_lines(path)).strip()
    if not text:
        raise PipeError(f"{path} is empty; expected an instruction, or no such file.")
    return text


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise PipeError(f"found no file {path}; an evaluation set needs it.") from None
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (gzip.BadGzipFile, EOFError) as error:
            raise PipeError(f"{path} is not a whole gzip file ({error}); copy it anew.") from None
    try:
        # Not splitlines(): a JSON string may hold U+2028, which is no line end in JSONL.
        return data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PipeError(
            f"{path}, line {line}: found the byte 0x{data[error.start]:02x} at offset "
            f"{error.start}, which is not UTF-8; convert the file to UTF-8."
        ) from None


def _explain(error: ValidationError, row: type[_Row], place: str) -> str:
    first = error.errors()[0]
    wanted = ", ".join(field.alias or name for name, field in row.model_fields.items())
    if first["type"] == "json_invalid":
        return f"{place} is not JSON ({first['ctx']['error']}); expected an object with {wanted}."
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        there = ", ".join(first["input"]) or "none"
        return f"{place} has no field {field!r} (its fields: {there}); expected {wanted}."
    if not field:
        return f"{place} is {type(first['input']).__name__}; expected an object with {wanted}."
    return f"{place}: field {field!r} is {first['input']!r}; {first['msg'].lower()}."
