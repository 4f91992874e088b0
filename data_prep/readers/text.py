"""Plain text: one document per file, or one per line."""

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.pieces import Piece
from data_prep.readers.found import Finds, Found
from data_prep.readers.locate import file_pieces
from data_prep.readers.opening import lines_of, suffixes_of, whole_text

SUFFIXES = suffixes_of(".txt", ".text", ".md", ".rst")


def pieces(config: SourceConfig) -> list[Piece]:
    """Divide text files into pieces: one per file.

    Args:
        config: Path: a file, a directory or a glob.

    Returns:
        The pieces.

    Raises:
        PipeError: There is no such file.
    """
    return file_pieces(config, SUFFIXES, documents=1)


def read(_config: SourceConfig, piece: Piece) -> Finds:
    """Read a text file as one document.

    Args:
        piece: The file.

    Yields:
        Document id (the file's name within the source) and text.

    Raises:
        PipeError: The file is not UTF-8 (names the byte), too large, or cannot be read.
    """
    yield Found(piece.name, whole_text(piece.path))


def line_pieces(config: SourceConfig) -> list[Piece]:
    """Divide files of lines into pieces: one per file.

    Args:
        config: Path: a file, a directory or a glob.

    Returns:
        The pieces.

    Raises:
        PipeError: There is no such file.
    """
    return file_pieces(config, SUFFIXES)


def read_lines(_config: SourceConfig, piece: Piece) -> Finds:
    """Read a text file with a document on each line.

    Args:
        piece: The file.

    Yields:
        Document id (``file:line``, lines from 1) and text; an error for a line that is too long or
        not UTF-8. Blank lines are passed over.

    Raises:
        PipeError: The file cannot be read further; names the line.
    """
    for number, line in lines_of(piece.path):
        if isinstance(line, PipeError):
            yield line
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield PipeError(
                f"{piece.path}, line {number}: byte {error.start} of the line is not UTF-8; "
                "convert the file to UTF-8."
            )
        else:
            if text.strip():
                yield Found(f"{piece.name}:{number}", text.rstrip("\r\n"))
