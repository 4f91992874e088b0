"""Documents from sources: a table of formats, and the one way to read any of them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from data_prep.formats import Suffixes, choose_format, format_of
from data_prep.pieces import Piece
from data_prep.readers import delimited, hub, jsonl, parquet, python_prose, text
from data_prep.readers.found import Finds
from data_prep.readers.locate import source_files
from data_prep.readers.opening import is_remote
from data_prep.records import Document


@dataclass(frozen=True, slots=True)
class Reader:
    """A row of the table of formats.

    Attributes:
        pieces: From a source's settings to its pieces, in order; reads as little as it can.
        read: From a source's settings and one of its pieces to documents, and to an error for a
            record that is none. What it yields does not depend on the other pieces having been
            read.
        suffixes: The file names that ``format = "auto"`` takes for this format.
    """

    pieces: Callable[[SourceConfig], list[Piece]]
    read: Callable[[SourceConfig, Piece], Finds]
    suffixes: tuple[str, ...] = ()


FORMATS: dict[str, Reader] = {
    "jsonl": Reader(jsonl.pieces, jsonl.read, jsonl.SUFFIXES),
    "parquet": Reader(parquet.pieces, parquet.read, parquet.SUFFIXES),
    "csv": Reader(delimited.csv_pieces, delimited.read_csv, delimited.CSV_SUFFIXES),
    "tsv": Reader(delimited.tsv_pieces, delimited.read_tsv, delimited.TSV_SUFFIXES),
    "text": Reader(text.pieces, text.read, text.SUFFIXES),
    "lines": Reader(text.line_pieces, text.read_lines),
    "datasets": Reader(hub.pieces, hub.read),
    "python-prose": Reader(python_prose.pieces, python_prose.read),
}

# NUL and lone surrogates: JSON can escape them, but neither UTF-8 (surrogates) nor many tools
# (NUL) can hold them.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def pieces_of(config: SourceConfig) -> list[Piece]:
    """Divide a source into pieces that workers can read side by side.

    Args:
        config: The source.

    Returns:
        Its pieces, always the same and in the same order. ``max_documents`` is not looked at.

    Raises:
        PipeError: The source is missing, or is not as its settings say.
    """
    return FORMATS[resolve_format(config)].pieces(config)


def read_piece(config: SourceConfig, piece: Piece) -> Iterator[Document]:
    """Read the documents of a piece.

    Args:
        config: The source.
        piece: One of its pieces.

    Yields:
        Its documents, always in the same order, and all of them whatever ``max_documents`` says.
        In texts and ids, NUL and lone surrogates are replaced by U+FFFD. Where ``on_error`` says to
        skip, a record that could not be read, or the rest of the piece, is a document with a
        ``problem`` and no text.

    Raises:
        PipeError: The piece is missing, damaged, or not as the source's settings say; the message
            names the file and the line, row or byte.
    """
    finds = FORMATS[_format_of_piece(config, piece)].read(config, piece)
    try:
        for number, found in enumerate(finds):
            if not isinstance(found, PipeError):
                doc_id, text, role, plain = found
                yield Document(
                    config.name,
                    clean(doc_id),
                    text if plain else clean(text),
                    role or config.role,
                    plain=plain,
                )
            elif config.on_error == "stop":
                raise found
            else:
                yield _unreadable(config, f"{piece.name}:{number}", found)
    except PipeError as error:
        if config.on_error == "stop":
            raise
        yield _unreadable(config, piece.name, error)


def _unreadable(config: SourceConfig, doc_id: str, error: PipeError) -> Document:
    return Document(config.name, clean(doc_id), "", config.role, problem=clean(str(error)))


def read_documents(config: SourceConfig) -> Iterator[Document]:
    """Read a source's documents, one piece after the other.

    Args:
        config: The source.

    Yields:
        Its documents, always in the same order, at most ``max_documents``.

    Raises:
        PipeError: As for ``pieces_of`` and ``read_piece``, or the source is empty.
    """
    documents = chain.from_iterable(read_piece(config, piece) for piece in pieces_of(config))
    found = False
    for document in islice(documents, config.max_documents):
        found = True
        yield document
    if not found:
        raise no_document(config)


def no_document(config: SourceConfig) -> PipeError:
    """Make the error for an empty source.

    Args:
        config: The source.

    Returns:
        The error, to be raised.
    """
    return PipeError(
        f"source {config.name!r} has no document; expected at least one. Correct its path "
        "or remove it from the recipe."
    )


def clean(text: str) -> str:
    """Replace what neither UTF-8 nor parquet readers can hold.

    Args:
        text: Any string.

    Returns:
        The string with U+FFFD for every NUL and every lone surrogate.
    """
    if text.isprintable():  # NUL and surrogates are not
        return text
    try:
        text.encode()  # many times as quick as a search for surrogates
    except UnicodeEncodeError:
        return _UNSTORABLE.sub("\ufffd", text)
    return text.replace("\0", "\ufffd")


def resolve_format(config: SourceConfig) -> str:
    """Find a source's format.

    Args:
        config: The source; ``auto`` goes by the suffix of its files, and by what
            ``Dataset.save_to_disk`` leaves in a directory.

    Returns:
        A key of ``FORMATS``.

    Raises:
        PipeError: The format is unknown, or ``auto`` finds none or more than one.
    """
    saved = config.format == "auto" and config.path and not is_remote(config.path)
    if saved and hub.is_saved(Path(config.path)):
        return "datasets"
    return choose_format(
        config.format,
        config.name,
        config.path,
        _suffixes(),
        lambda wanted: (file.path for file in source_files(config, wanted)),
    )


def _suffixes() -> Suffixes:
    return {name: reader.suffixes for name, reader in FORMATS.items()}


def _format_of_piece(config: SourceConfig, piece: Piece) -> str:
    """Find the format again, without a look at the source's other files."""
    if config.format == "auto" and (known := format_of(piece.path, _suffixes())) is not None:
        return known
    return resolve_format(config)
