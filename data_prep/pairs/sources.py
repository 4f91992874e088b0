"""Pairs from sources: a table of formats, and the one way to read any of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from data_prep.formats import choose_format
from data_prep.pairs.config import PairsConfig, PairSourceConfig
from data_prep.pairs.readers import jsonl, parquet, webdataset
from data_prep.pairs.readers.files import files_of
from data_prep.pairs.records import Found, Skipped
from data_prep.pairs.shapes import read_shapes


@dataclass(frozen=True, slots=True)
class Reader:
    """A row of the table of formats.

    Attributes:
        read: From the settings of a source and of the pairs to what is found.
        suffixes: The file names that ``format = "auto"`` takes for this format.
    """

    read: Callable[[PairSourceConfig, PairsConfig], Iterator[Found | Skipped]]
    suffixes: tuple[str, ...] = ()


FORMATS: dict[str, Reader] = {
    "shapes": Reader(read_shapes),
    "jsonl": Reader(jsonl.read_jsonl, jsonl.SUFFIXES),
    "parquet": Reader(parquet.read_parquet, parquet.SUFFIXES),
    "webdataset": Reader(webdataset.read_webdataset, webdataset.SUFFIXES),
}


def read_pairs(source: PairSourceConfig, config: PairsConfig) -> Iterator[Found | Skipped]:
    """Read a source.

    Args:
        source: The source.
        config: The pairs' settings.

    Yields:
        What it holds, always in the same order, at most ``max_pairs``.

    Raises:
        PipeError: The source is missing, damaged or not as its settings say; the message names
            the file and the line, row or key.
    """
    yield from islice(FORMATS[resolve_format(source)].read(source, config), source.max_pairs)


def resolve_format(source: PairSourceConfig) -> str:
    """Find a source's format.

    Args:
        source: The source; ``auto`` goes by the suffix of its files.

    Returns:
        A key of ``FORMATS``.

    Raises:
        PipeError: The format is unknown, or ``auto`` finds none or more than one.
    """
    suffixes = {name: reader.suffixes for name, reader in FORMATS.items()}
    return choose_format(
        source.format,
        source.name,
        source.path,
        suffixes,
        lambda wanted: (name for name, _ in files_of(source, wanted)),
    )
