"""Pieces of a source: what one worker reads from end to end while others read the rest."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a source. A source's pieces, in order, hold each of its documents once.

    Attributes:
        name: Names it within the source, the same on every machine; often a file's name there.
        path: The file or directory that it is read from, if the source's settings do not say it.
        first: Number of the first of the parts that it takes of that; parquet: row groups.
        stop: Number behind the last one; None takes all that follow.
        size: About how many bytes of documents it holds; 0 if that is not known.
        documents: How many documents it holds; None if that is known only when it has been read.
    """

    name: str
    path: str = ""
    first: int = 0
    stop: int | None = None
    size: int = 0
    documents: int | None = None
