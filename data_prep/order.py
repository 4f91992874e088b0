"""Third stage: which spans the corpus holds and which row each of them is. Only keys are read."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.config import CorpusConfig
from data_prep.errors import PipeError
from data_prep.files import atomic_write
from data_prep.keys import OFFERED, ORDERED, Numbers, Records, in_order
from data_prep.mixture import mixture
from data_prep.runs import gather
from data_prep.scratch import Scratch
from data_prep.selection import ALL, Threshold, distinct, held_out_threshold, threshold
from data_prep.writing import ORDER

STAGE = "order"
PARTITION_ROWS = 500_000
MOST_TIED = 4096
"""Spans of one identity (of documents that share an id) up to which their texts decide."""


@dataclass(frozen=True, slots=True)
class Order:
    """What was decided.

    Attributes:
        taken: Spans of each source, in the configuration's order.
        held_out_rows: The first so many rows are held out.
        documents: Documents that the corpus has spans of.
        held_out_documents: Those of them that are held out.
    """

    taken: tuple[int, ...]
    held_out_rows: int
    documents: int
    held_out_documents: int


def decide(config: CorpusConfig, available: dict[str, int], parts: int, scratch: Scratch) -> Order:
    """Choose the spans and write the order of the rows.

    Args:
        config: The corpus wanted.
        available: How many spans each source offers.
        parts: How many files of offers there are.
        scratch: Where the offers are and the order goes.

    Returns:
        What was decided. Held-out rows come first. Both they and the others are in the order of a
        number drawn from each span's identity. Among spans of one identity, the text decides; its
        digest, where there are more than ``MOST_TIED``.

    Raises:
        PipeError: A source has too few spans for its share, or nothing is left to train on.
        OSError: The disk refuses a file.
    """
    counts = mixture(
        {source.name: source.weight for source in config.sources}, available, config.texts
    )
    rows = sum(counts.values())
    offers = _Offers(scratch, parts)
    thresholds = tuple(
        ALL
        if count == available[name]
        else threshold(partial(offers.of_source, number), count, partial(_lowest_texts, scratch))
        for number, (name, count) in enumerate(counts.items())
    )
    # The numbers of the documents alone are a fraction of the records to copy.
    numbers = partial(offers.taken, thresholds, "held_out")
    last = held_out_threshold(numbers, rows, config.held_out_fraction)

    def held_out() -> Iterator[Numbers]:
        return (chunk[_are_held_out(chunk, last)] for chunk in numbers())

    held_out_rows = sum(map(len, held_out()))
    documents = distinct(numbers, rows)
    if held_out_rows == rows:
        raise PipeError(
            f"held_out_fraction is {config.held_out_fraction} and the corpus has {documents} "
            "documents, so that none is left to train on; lower it, or give the sources more "
            "documents (or an id_field that tells them apart)."
        )
    _write_order(partial(offers.taken, thresholds), last, rows, scratch)
    return Order(
        tuple(counts.values()),
        held_out_rows,
        documents,
        distinct(held_out, rows),
    )


@dataclass(frozen=True, slots=True)
class _Offers:
    """All offers, file by file."""

    scratch: Scratch
    parts: int

    def __iter__(self) -> Iterator[Records]:
        for part in range(self.parts):
            yield np.fromfile(self.scratch.offers(part), OFFERED)

    def of_source(self, source: int) -> Iterator[Records]:
        return (chunk[chunk["source"] == source] for chunk in self)

    def taken(
        self, thresholds: tuple[Threshold, ...], field: str | None = None
    ) -> Iterator[Records]:
        for chunk in self:
            chosen = np.zeros(len(chunk), bool)
            for source, limit in enumerate(thresholds):
                chosen |= (chunk["source"] == source) & limit.chooses(chunk)
            yield (chunk if field is None else chunk[field])[chosen]


def _are_held_out(numbers: Numbers, last: int | None) -> npt.NDArray[np.bool_]:
    if last is None:
        return np.zeros(len(numbers), bool)
    return np.asarray(numbers <= np.uint64(last))


def _write_order(
    taken: Callable[[], Iterable[Records]], last: int | None, rows: int, scratch: Scratch
) -> None:
    """Sort the taken spans by way of files, each of which fits into memory."""
    partitions = max(1, -(-rows // PARTITION_ROWS))
    directory = scratch.order("partitions")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for chunk in taken():
        _scatter(chunk, last, partitions, directory)
    with atomic_write(scratch.order(ORDER)) as temporary, temporary.open("wb") as file:
        for number in range(2 * partitions):
            _sorted_places(directory / str(number), scratch).tofile(file)
    shutil.rmtree(directory)


def _scatter(chunk: Records, last: int | None, partitions: int, directory: Path) -> None:
    # The highest bits of a row's number choose its partition, so partitions are in order, and
    # those of the held-out rows come before the others.
    numbers = ((chunk["row"] >> np.uint64(32)) * np.uint64(partitions)) >> np.uint64(32)
    numbers[~_are_held_out(chunk["held_out"], last)] += np.uint64(partitions)
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(2 * partitions + 1, dtype=np.uint64))
    for number in range(2 * partitions):
        with (directory / str(number)).open("ab") as file:
            chunk[order[bounds[number] : bounds[number + 1]]].tofile(file)


def _sorted_places(path: Path, scratch: Scratch) -> Records:
    parted = np.fromfile(path, OFFERED)
    parted = parted[in_order(parted["row"], parted["text"])]
    places = np.empty(len(parted), ORDERED)
    for name in ORDERED.names or ():
        places[name] = parted[name]
    same = np.flatnonzero(parted["row"][1:] == parted["row"][:-1])
    if len(same):
        ends = np.flatnonzero(np.append(parted["row"][1:] != parted["row"][:-1], [True])) + 1
        begins = np.append([0], ends[:-1])
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            if 1 < end - begin <= MOST_TIED:
                places[begin:end] = places[begin:end][_by_text(places[begin:end], scratch)]
    return places


def _lowest_texts(scratch: Scratch, ties: Records, count: int) -> Records:
    """Choose so many of spans that are tied."""
    if len(ties) <= MOST_TIED:
        return ties[_by_text(ties, scratch)[:count]]
    return ties[np.argsort(ties["text"], kind="stable")[:count]]


def _by_text(places: Records, scratch: Scratch) -> npt.NDArray[np.int64]:
    """Say in which order spans are that of their texts."""
    texts = gather(scratch, places)["text"].to_pylist()
    return np.array(sorted(range(len(texts)), key=texts.__getitem__), np.int64)
