"""Rows of a corpus to look at: by number, by source, or at random; a row group in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data_prep.corpus import Corpus
from data_prep.errors import UsageError
from data_prep.shards import ROW_GROUP_ROWS, read_table


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the corpus, with everything that is known of it.

    Attributes:
        row: Its number.
        held_out: Whether training never sees it.
        source: The source of its document.
        role: Whether it is a passage or a question.
        doc_id: Its document.
        first_sentence: Number of its first sentence in the document, from 0.
        num_sentences: How many sentences it holds.
        words_shuffled: Whether its words stand in another order than in the document.
        text: The text.
    """

    row: int
    held_out: bool
    source: str
    role: str
    doc_id: str
    first_sentence: int
    num_sentences: int
    words_shuffled: bool
    text: str


def parse_rows(text: str, rows: int) -> list[range]:
    """Read numbers of rows.

    Args:
        text: Numbers and ranges, the ends of a range included.
        rows: Rows of the corpus.

    Returns:
        The ranges, in the order given.

    Raises:
        UsageError: The text is something else, or names a row that the corpus has not.

    >>> parse_rows("0-9,4711", 5000)
    [range(0, 10), range(4711, 4712)]
    """
    found = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not dash:
            last = first
        if not (first.isdecimal() and last.isdecimal()) or int(first) > int(last):
            raise UsageError(
                f"found {part.strip()!r} in the rows {text!r}, expected numbers and ranges such as "
                "0-9,4711."
            )
        if int(last) >= rows:
            raise UsageError(f"found row {last}, and the corpus has rows 0 to {rows - 1}.")
        found.append(range(int(first), int(last) + 1))
    return found


def rows_of(corpus: Corpus, source: str) -> Iterator[npt.NDArray[np.int64]]:
    """Find the rows of a source.

    Args:
        corpus: The corpus.
        source: The source's name.

    Yields:
        For each shard the numbers of its rows, ascending.

    Raises:
        UsageError: The corpus has no such source.
        PipeError: A shard is missing or damaged.
    """
    names = [each.name for each in corpus.manifest.sources]
    if source not in names:
        raise UsageError(f"found source {source!r}, expected one of {', '.join(names)}.")
    for shard in range(corpus.num_shards):
        column = read_table(corpus.shard_path(shard), ["source"])["source"]
        yield corpus.shard_range(shard).start + np.flatnonzero(column.to_numpy() == source)


def random_rows(
    corpus: Corpus, count: int, seed: int | None, source: str | None = None
) -> list[int]:
    """Draw rows, each as likely as any other.

    Args:
        corpus: The corpus.
        count: How many; no more than there are.
        seed: The same seed draws the same rows; None draws others each time.
        source: Only rows of this source; None draws from all.

    Returns:
        Different rows, ascending.

    Raises:
        UsageError: As for ``rows_of``.
        PipeError: As for ``rows_of``.
    """
    generator = np.random.default_rng(seed)
    if source is None:
        drawn = generator.choice(corpus.rows, min(count, corpus.rows), replace=False)
        return [int(row) for row in np.sort(drawn)]
    total = sum(map(len, rows_of(corpus, source)))
    places = np.sort(generator.choice(total, min(count, total), replace=False))
    found: list[int] = []
    before = 0
    for rows in rows_of(corpus, source):
        inside = places[(places >= before) & (places < before + len(rows))] - before
        found.extend(int(row) for row in rows[inside])
        before += len(rows)
    return found


def look(corpus: Corpus, rows: Iterable[int]) -> Iterator[Row]:
    """Read rows with everything that is known of them.

    Args:
        corpus: The corpus.
        rows: Their numbers, in any order; neighbours are read together.

    Yields:
        The rows, in the order given.

    Raises:
        PipeError: A shard is missing or damaged.
    """
    place: tuple[int, int] | None = None
    records: list[dict[str, Any]] = []
    for row in rows:
        shard, offset = divmod(row, corpus.rows_per_shard)
        group, inside = divmod(offset, ROW_GROUP_ROWS)
        if (shard, group) != place:
            place = (shard, group)
            records = read_table(corpus.shard_path(shard), group=group).to_pylist()
        yield Row(row=row, held_out=row < corpus.held_out_rows, **records[inside])
