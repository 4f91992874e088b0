"""Which spans the corpus holds, and which row each of them is."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from time import monotonic

from data_prep.config import CorpusConfig, SourceConfig
from data_prep.draws import draw
from data_prep.errors import PipeError
from data_prep.mixture import mixture
from data_prep.records import Span
from data_prep.sources import read_documents
from data_prep.spans import spans_of

REPORT_SECONDS = 10.0


@dataclass(slots=True)
class Pool:
    """What a source offers.

    Attributes:
        documents: Documents read.
        empty: Documents without text.
        duplicate: Spans dropped because another span has the same text.
        spans: The others, by text, each with the key that decides whether it is taken.
    """

    documents: int = 0
    empty: int = 0
    duplicate: int = 0
    spans: dict[str, tuple[int, Span]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of a corpus.

    Attributes:
        spans: One per row, in row order.
        held_out_rows: The first so many are held out.
        pools: What each source offered.
    """

    spans: list[Span]
    held_out_rows: int
    pools: dict[str, Pool]


def select(config: CorpusConfig, report: Callable[[str], None]) -> Selection:
    """Read the sources and decide every row.

    Args:
        config: The corpus wanted.
        report: Gets a line of progress now and then.

    Returns:
        The rows. They depend on the configuration and on the documents, not on the order in which
        a source yields them.

    Raises:
        PipeError: A source cannot be read, or has too few spans for its share.
    """
    pools: dict[str, Pool] = {}
    for source in config.sources:
        report(f"reading {source.name}" + (f" from {source.path}" if source.path else ""))
        pools[source.name] = _fill_pool(source, config, list(pools.values()), report)
        pool = pools[source.name]
        report(
            f"{source.name}: {pool.documents:,} documents, {len(pool.spans):,} spans "
            f"({pool.empty:,} empty documents and {pool.duplicate:,} duplicate spans dropped)"
        )
    counts = mixture(
        {source.name: source.weight for source in config.sources},
        {name: len(pool.spans) for name, pool in pools.items()},
        config.texts,
    )
    chosen: list[Span] = []
    for name, count in counts.items():
        candidates = sorted(pools[name].spans.values(), key=lambda pair: (pair[0], pair[1].text))
        chosen.extend(span for _, span in candidates[:count])
    held_out, training = split_held_out(chosen, config)
    rows = _row_order(held_out, config.seed) + _row_order(training, config.seed)
    return Selection(rows, len(held_out), pools)


def split_held_out(spans: list[Span], config: CorpusConfig) -> tuple[list[Span], list[Span]]:
    """Hold out whole documents.

    Args:
        spans: The rows of the corpus, in any order.
        config: The fraction and the seed.

    Returns:
        The held-out spans and the others. Documents are held out in the order of a hash until
        they have the fraction of the rows (rounded up); no document is in both parts.

    Raises:
        PipeError: Nothing would be left to train on.
    """
    wanted = ceil(Fraction(str(config.held_out_fraction)) * len(spans))
    sizes = Counter((span.source, span.doc_id) for span in spans)
    held_out: set[tuple[str, str]] = set()
    rows = 0
    for document in sorted(sizes, key=lambda who: (draw(config.seed, "held-out", *who), who)):
        if rows >= wanted:
            break
        held_out.add(document)
        rows += sizes[document]
    if rows == len(spans):
        raise PipeError(
            f"held_out_fraction is {config.held_out_fraction} and the corpus has {len(sizes)} "
            "documents, so that none is left to train on; lower it, or give the sources more "
            "documents (or an id_field that tells them apart)."
        )
    parts: tuple[list[Span], list[Span]] = ([], [])
    for span in spans:
        parts[(span.source, span.doc_id) not in held_out].append(span)
    return parts


def _fill_pool(
    source: SourceConfig,
    config: CorpusConfig,
    earlier: Iterable[Pool],
    report: Callable[[str], None],
) -> Pool:
    """Read a source; of equal texts, the earlier source's or the one with the lower key stays."""
    pool = Pool()
    told = monotonic()
    for document in read_documents(source):
        pool.documents += 1
        spans = spans_of(document, config)
        pool.empty += not spans
        for span in spans:
            identity = (span.source, span.doc_id, span.first_sentence)
            key = draw(config.seed, "take", *identity)
            rival = pool.spans.get(span.text)
            if any(span.text in other.spans for other in earlier):
                pool.duplicate += 1
                continue
            if rival is not None:
                pool.duplicate += 1
            if rival is None or (key, _place(span)) < (rival[0], _place(rival[1])):
                pool.spans[span.text] = (key, span)
        if monotonic() - told > REPORT_SECONDS:
            told = monotonic()
            report(f"{source.name}: {pool.documents:,} documents so far")
    return pool


def _place(span: Span) -> tuple[str, int, int, bool]:
    return (span.doc_id, span.first_sentence, span.num_sentences, span.words_shuffled)


def _row_order(spans: list[Span], seed: int) -> list[Span]:
    """Shuffle by identity; texts are distinct and decide between spans of one identity."""
    return sorted(
        spans,
        key=lambda span: (
            draw(seed, "row", span.source, span.doc_id, span.first_sentence),
            span.text,
        ),
    )
