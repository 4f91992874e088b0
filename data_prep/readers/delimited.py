"""CSV and TSV, plain or compressed: one document per row, columns named by the first row."""

import csv
from collections.abc import Iterator

from data_prep.config import SourceConfig
from data_prep.errors import PipeError, first_line
from data_prep.pieces import Piece
from data_prep.readers import opening
from data_prep.readers.fields import missing_field
from data_prep.readers.found import Finds, found_in
from data_prep.readers.locate import file_pieces
from data_prep.readers.opening import lines_of, suffixes_of
from data_prep.readers.shapes import fields_of

CSV_SUFFIXES = suffixes_of(".csv")
TSV_SUFFIXES = suffixes_of(".tsv", ".tab")


def csv_pieces(config: SourceConfig) -> list[Piece]:
    """Divide CSV files into pieces: one per file.

    Args:
        config: Path and columns.

    Returns:
        The pieces.

    Raises:
        PipeError: There is no such file.
    """
    return file_pieces(config, CSV_SUFFIXES)


def tsv_pieces(config: SourceConfig) -> list[Piece]:
    """Divide TSV files into pieces: one per file.

    Args:
        config: Path and columns.

    Returns:
        The pieces.

    Raises:
        PipeError: There is no such file.
    """
    return file_pieces(config, TSV_SUFFIXES)


def read_csv(config: SourceConfig, piece: Piece) -> Finds:
    """Read a CSV file; a quoted field may hold commas, line ends and doubled quotes.

    Args:
        config: Path and columns; ``columns`` names them where the file has no header.
        piece: The file.

    Yields:
        Document id (``file:line`` of the row's last line if the source has no ``id_field``, lines
        from 1), text and role; an error for a row that is too long, not UTF-8, or has another
        number of fields than the header.

    Raises:
        PipeError: The header lacks a column wanted, or the file cannot be read further.
    """
    yield from _read(config, piece, csv.excel)


def read_tsv(config: SourceConfig, piece: Piece) -> Finds:
    """Read a TSV file; a tab or a line end cannot stand in a field, and quotes are text.

    Args:
        config: As for ``read_csv``.
        piece: The file.

    Yields:
        As ``read_csv``.

    Raises:
        PipeError: As for ``read_csv``.
    """
    yield from _read(config, piece, _Tabs)


class _Tabs(csv.excel_tab):
    quoting = csv.QUOTE_NONE
    quotechar = None


def _read(config: SourceConfig, piece: Piece, dialect: type[csv.Dialect]) -> Finds:
    lines = _Decoded(piece.path)
    # One for the whole process; the largest wins, and every reader here has the same.
    csv.field_size_limit(opening.MAX_RECORD_BYTES)
    rows = csv.reader(lines, dialect, strict=True)
    header = list(config.columns)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            lines.problem()
            yield PipeError(
                f"{piece.path}, line {lines.number}: not a row ({first_line(error)}); mend or "
                "remove it."
            )
            continue
        where = f"{piece.path}, line {lines.number}"
        if (problem := lines.problem()) is not None:
            yield problem
        elif not header:
            if row:
                header = row
                _check_header(header, config, where)
        elif row and len(row) != len(header):
            yield PipeError(
                f"{where}: found {len(row)} fields; expected {len(header)}, as the header has. "
                "Mend or remove the row."
            )
        elif row:
            fields = dict(zip(header, row, strict=True))
            yield from found_in(fields, config, where, f"{piece.name}:{lines.number}")


class _Decoded:
    """The lines of a file as text; what is wrong with one is kept until it is asked for."""

    def __init__(self, path: str) -> None:
        self._path, self._lines = path, lines_of(path)
        self._problem: PipeError | None = None
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if isinstance(line, PipeError):
            self._problem = line
            return "\n"
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            self._problem = PipeError(
                f"{self._path}, line {self.number}: byte {error.start} of the line is not UTF-8; "
                "convert the file to UTF-8."
            )
            return line.decode("utf-8", "replace")

    def problem(self) -> PipeError | None:
        """Give the problem of the lines since the last call, once."""
        problem, self._problem = self._problem, None
        return problem


def _check_header(header: list[str], config: SourceConfig, where: str) -> None:
    wanted = [config.text_field] if config.take is None else fields_of(config)
    if not set(wanted) & set(header):
        raise missing_field(config.text_field, header, where, "text_field")
    if config.id_field is not None and config.id_field not in header:
        raise missing_field(config.id_field, header, where, "id_field")
