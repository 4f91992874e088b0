"""Data sets of the Hugging Face ``datasets`` library: a hub name or a local directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from data_prep.config import SourceConfig
from data_prep.errors import PipeError, first_line
from data_prep.pieces import Piece
from data_prep.readers.found import Finds, found_in

SUFFIXES: tuple[str, ...] = ()
PIECE_ROWS = 50_000
_SAVED = ("state.json", "dataset_dict.json")


def is_saved(directory: Path) -> bool:
    """Say whether a directory is what ``Dataset.save_to_disk`` writes.

    Args:
        directory: Any path.

    Returns:
        True if it holds one of the library's own record files.
    """
    return any((directory / name).is_file() for name in _SAVED)


def pieces(config: SourceConfig) -> list[Piece]:
    """Divide a data set into pieces: the files of a stream, or rows of one that was saved.

    Args:
        config: ``path`` is a name on the hub, a directory of data files, or one written by
            ``save_to_disk``; ``subset`` and ``split`` choose within it.

    Returns:
        The pieces.

    Raises:
        PipeError: The data set, its subset or its split is not found.
    """
    with _told(config):
        data = _opened(config)
        if is_saved(Path(config.path)):
            return [
                Piece(config.split, first=first, stop=min(first + PIECE_ROWS, len(data)))
                for first in range(0, len(data), PIECE_ROWS)
            ]
        files: int = data.num_shards
    if files == 1:
        return [Piece(config.split)]
    return [Piece(f"{config.split}/{file}", first=file, stop=files) for file in range(files)]


def read(config: SourceConfig, piece: Piece) -> Finds:
    """Read a piece of a data set, streaming, so that a large one need not be downloaded whole.

    Args:
        config: As for ``pieces``.
        piece: A file of the data set, or a range of its rows.

    Yields:
        Document id, text and role; an error for a row that is not a record with the texts wanted.
        If the source has no ``id_field``, the id is ``split:row``, rows from 0; in a stream of
        several files ``split/file:row``.

    Raises:
        PipeError: The data set cannot be read.
    """
    with _told(config):
        data = _opened(config)
        first = 0
        if is_saved(Path(config.path)):
            first = piece.first
            data = data.select(range(first, len(data))[: _count(piece)])
        elif piece.stop is not None:
            data = data.shard(num_shards=piece.stop, index=piece.first)
        rows: Iterator[dict[str, Any]] = iter(data)
    for number in count(first):
        try:
            with _told(config):
                record = next(rows)
        except StopIteration:
            return
        where = f"{config.path}, split {config.split!r}, row {number} of {piece.name}"
        yield from found_in(record, config, where, f"{piece.name}:{number}")


def _count(piece: Piece) -> int | None:
    return None if piece.stop is None else piece.stop - piece.first


def _opened(config: SourceConfig) -> Any:
    # Imported here: the library takes seconds to import and other formats do without it.
    import datasets  # noqa: PLC0415

    if not config.path:
        raise PipeError(
            f"source {config.name!r} has no path; set it to the data set's name or directory."
        )
    if not is_saved(Path(config.path)):
        return datasets.load_dataset(config.path, config.subset, split=config.split, streaming=True)
    saved = datasets.load_from_disk(config.path)
    if not isinstance(saved, datasets.DatasetDict):
        return saved
    if config.split not in saved:
        raise ValueError(f"it has the splits {', '.join(saved)}")
    return saved[config.split]


@contextmanager
def _told(config: SourceConfig) -> Iterator[None]:
    """Turn the errors of the library, of its many file formats and of the hub into a sentence."""
    try:
        yield
    except (PipeError, StopIteration):
        raise
    except Exception as error:
        subset = f", subset {config.subset!r}" if config.subset else ""
        raise PipeError(
            f"data set {config.path!r}{subset}, split {config.split!r} (source {config.name!r}) "
            f"cannot be read ({first_line(error)}); correct its path, subset and split, and see "
            "that the hub can be reached or give a local directory."
        ) from None
