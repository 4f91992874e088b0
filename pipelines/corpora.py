"""Looking into a run's corpus: its rows, and a table of what it holds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from data_prep.corpus import Corpus
from data_prep.errors import UsageError
from data_prep.left_out import LISTS
from data_prep.looking import Row, look, parse_rows, random_rows, rows_of
from data_prep.overview import LONG_TOKENS, Overview, Part, overview
from pipelines.run import Run

_FIRST = 10


@dataclass(frozen=True, slots=True)
class Shown:
    """Which rows of a corpus a command was asked to show.

    Attributes:
        rows: Numbers and ranges such as ``0-9,4711``.
        source: Only rows of this source.
        random: How many rows to draw.
        seed: Draws them; None draws others each time.
    """

    rows: str | None = None
    source: str | None = None
    random: int | None = None
    seed: int | None = None


def show(run: Run, shown: Shown) -> Iterator[Row]:
    """Read the rows asked for.

    Args:
        run: The run.
        shown: Which rows; without numbers and without a draw, the first ten.

    Yields:
        The rows.

    Raises:
        UsageError: There is no such row or source, or rows are both named and drawn.
        PipeError: There is no finished corpus, or a shard is missing or damaged.
    """
    if shown.rows is not None and shown.random is not None:
        raise UsageError("found --rows and --random, expected one of them.")
    corpus = Corpus.open(run.corpus)
    yield from look(corpus, _numbers(corpus, shown))


def _numbers(corpus: Corpus, shown: Shown) -> Iterable[int]:
    if shown.random is not None:
        return random_rows(corpus, shown.random, shown.seed, shown.source)
    if shown.rows is None:
        if shown.source is None:
            return range(min(_FIRST, corpus.rows))
        every = (int(row) for rows in rows_of(corpus, shown.source) for row in rows)
        return islice(every, _FIRST)
    named = parse_rows(shown.rows, corpus.rows)
    if shown.source is None:
        return chain.from_iterable(named)
    return (
        int(row)
        for rows in rows_of(corpus, shown.source)
        for row in rows[np.isin(rows, np.concatenate([np.asarray(part) for part in named]))]
    )


def as_text(row: Row) -> str:
    """Write a row for people.

    Args:
        row: The row.

    Returns:
        A line of facts, and the text, indented.
    """
    last = row.first_sentence + row.num_sentences - 1
    sentences = (
        f"sentence {last}" if row.num_sentences == 1 else (f"sentences {row.first_sentence}-{last}")
    )
    facts = [f"row {row.row}", row.source, row.role, f"{sentences} of {row.doc_id}"]
    facts += ["held out"] * row.held_out + ["words shuffled"] * row.words_shuffled
    return "  ".join(facts) + "\n" + "\n".join(f"    {line}" for line in row.text.splitlines())


def table(run: Run) -> tuple[str, dict[str, Any]]:
    """Say what a run's corpus holds.

    Args:
        run: The run.

    Returns:
        The same for people and for programs: texts, sentences, characters and tokens by source
        and role, and what was left out.

    Raises:
        PipeError: There is no finished corpus, or a shard is missing or damaged.
    """
    corpus = Corpus.open(run.corpus)
    manifest, counted = corpus.manifest, overview(corpus)
    dropped = {reason: count for reason, count in manifest.dropped.items() if count}
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in sorted(dropped.items()))
    lines = [
        *_lines(counted),
        f"left out: {left_out or 'nothing'}",
        f"held out from training: {manifest.held_out_rows:,} texts",
    ]
    lists = [run.corpus / name for name in LISTS.values()]
    lines.extend(f"listed in {path}" for path in lists if path.is_file())
    changes = {name: manifest.counts.get(name, 0) for name in ("normalised", "shortened")}
    lines.extend(f"{name}: {count:,} documents" for name, count in changes.items() if count)
    data = {
        "rows": manifest.rows,
        "held_out_rows": manifest.held_out_rows,
        "fingerprint": manifest.fingerprint,
        "parts": [part.model_dump() for part in counted.parts],
        "dropped": manifest.dropped,
        "counts": manifest.counts,
        "sources": [source.model_dump() for source in manifest.sources],
    }
    return "\n".join(lines), data


def _lines(counted: Overview) -> list[str]:
    header = ("source", "role", "texts", "sentences", "characters", "tokens", f"over {LONG_TOKENS}")
    rows = [header, *(_cells(part.source, part.role, [part]) for part in counted.parts)]
    if len(counted.parts) > 1:
        rows.append(_cells("all", "", counted.parts))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [*lines, "(tokens are estimated from bytes)"]


def _cells(source: str, role: str, parts: Iterable[Part]) -> tuple[str, ...]:
    parts = list(parts)
    texts = sum(part.texts for part in parts)
    long_texts = sum(part.long_texts for part in parts)
    return (
        source,
        role,
        f"{texts:,}",
        f"{sum(part.sentences for part in parts):,}",
        f"{sum(part.characters for part in parts):,}",
        f"{sum(part.tokens for part in parts):,}",
        f"{long_texts / texts:.1%}",
    )
