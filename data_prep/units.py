"""Units of reading: pieces of sources that one task takes together. Arithmetic, but for the pieces.

Units follow from the sources alone, never from the number of workers, so that a run that was
killed goes on with any number of them.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_prep.config import CorpusConfig, SourceConfig
from data_prep.evaluation_texts import state_of
from data_prep.fingerprint import digest
from data_prep.pieces import Piece
from data_prep.sources import pieces_of, resolve_format

LARGEST = 64 * 2**20
SMALLEST = 4 * 2**20
_MANY = 64
_UNKNOWN_SIZE = 2**20
# A change of this program that changes what reading leaves in the scratch directory raises it.
_VERSION = 2


@dataclass(frozen=True, slots=True)
class Unit:
    """What one task reads.

    Attributes:
        number: From 0, through all sources.
        source: Place of its source in the configuration.
        pieces: Consecutive pieces of that source.
        documents: Documents to read at most; None reads all.
    """

    number: int
    source: int
    pieces: tuple[Piece, ...]
    documents: int | None = None


def plan_units(config: CorpusConfig) -> list[Unit]:
    """Divide all sources into units.

    Args:
        config: The corpus wanted.

    Returns:
        The units, numbered, in the sources' order.

    Raises:
        PipeError: A source is missing, or is not as its settings say.
    """
    pieces = [limited(pieces_of(source), source.max_documents) for source in config.sources]
    total = sum(size_of(piece) for parts in pieces for piece, _ in parts)
    wanted = min(max(total // _MANY, SMALLEST), LARGEST)
    units: list[Unit] = []
    for number, (source, parts) in enumerate(zip(config.sources, pieces, strict=True)):
        if source.max_documents is not None and any(limit is None for _, limit in parts):
            # Where it ends is known only to the one who has read everything before.
            grouped = [parts]
        else:
            grouped = grouped_by_size(parts, wanted)
        for group in grouped:
            limits = [limit for _, limit in group if limit is not None]
            documents = sum(limits) if len(limits) == len(group) else source.max_documents
            only = tuple(piece for piece, _ in group)
            units.append(Unit(len(units), number, only, documents))
    return units


def limited(pieces: Iterable[Piece], most: int | None) -> list[tuple[Piece, int | None]]:
    """Say how many documents to read of each piece.

    Args:
        pieces: A source's pieces, in order.
        most: How many documents to read of the source; None reads all.

    Returns:
        The pieces that are needed, each with its number of documents; None where it is not known.
    """
    found: list[tuple[Piece, int | None]] = []
    left = most
    for piece in pieces:
        if left is None or piece.documents is None:
            found.append((piece, None))
        elif left > 0:
            found.append((piece, min(left, piece.documents)))
            left -= min(left, piece.documents)
    return found


def grouped_by_size(
    parts: list[tuple[Piece, int | None]], wanted: int
) -> list[list[tuple[Piece, int | None]]]:
    """Put consecutive pieces together until they have a size.

    Args:
        parts: Pieces, each with whatever belongs to it.
        wanted: Bytes at which a group is full.

    Returns:
        The groups; each but the last has at least the size wanted.
    """
    groups: list[list[tuple[Piece, int | None]]] = []
    size = wanted
    for part in parts:
        if size >= wanted:
            groups.append([])
            size = 0
        groups[-1].append(part)
        size += size_of(part[0])
    return groups


def size_of(piece: Piece) -> int:
    """Estimate a piece's size.

    Args:
        piece: The piece.

    Returns:
        Bytes, at least 1.
    """
    return piece.size or _UNKNOWN_SIZE


def resolved(config: CorpusConfig) -> CorpusConfig:
    """Name every source's format, so that no worker has to look for it.

    Args:
        config: The corpus wanted.

    Returns:
        The same with no format left to ``auto``.

    Raises:
        PipeError: A format is unknown or not to be found out.
    """

    def named(source: SourceConfig) -> SourceConfig:
        return source.model_copy(update={"format": resolve_format(source)})

    return config.model_copy(update={"sources": tuple(map(named, config.sources))})


def reading_digest(config: CorpusConfig, units: list[Unit]) -> str:
    """Digest everything that decides what reading the units gives.

    Args:
        config: The corpus wanted.
        units: Its units.

    Returns:
        A SHA-256 digest. Sizes and times of the files are part of it; how many texts are taken
        and held out is not.
    """
    settings = config.model_dump(
        mode="json", exclude={"texts", "rows_per_shard", "held_out_fraction"}
    )
    for source in settings["sources"]:
        source.pop("weight")
        source.pop("license")
        # What was read without an error is the same either way.
        source.pop("on_error")
    return digest(
        {
            "version": _VERSION,
            "sentencex": version("sentencex"),
            "config": settings,
            "evaluation": [state_of(place) for place in config.decontaminate],
            "units": [
                [asdict(piece) | {"changed": _changed(piece)} for piece in unit.pieces]
                + [unit.documents]
                for unit in units
            ],
        }
    )


def _changed(piece: Piece) -> Any:
    path = Path(piece.path)
    return path.stat().st_mtime_ns if piece.path and path.is_file() else None
