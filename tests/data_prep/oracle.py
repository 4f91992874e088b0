"""The corpus in a few lines, in memory: what the real one must agree with."""

from collections import Counter
from fractions import Fraction
from math import ceil

from data_prep.config import CorpusConfig
from data_prep.draws import draw
from data_prep.mixture import mixture
from data_prep.records import Span
from data_prep.sources import read_documents
from data_prep.spans import spans_of


def identity(span: Span) -> tuple[str, str, int]:
    return span.source, span.doc_id, span.first_sentence


def rows_of(config: CorpusConfig) -> tuple[list[Span], int]:
    """Make the rows of a corpus, and the number of those held out."""
    seen: set[str] = set()
    offers: dict[str, list[Span]] = {}
    for source in config.sources:
        spans = [span for one in read_documents(source) for span in spans_of(one, config)]
        spans.sort(key=lambda s: (draw(config.seed, "take", *identity(s)), s.doc_id, s.text))
        offers[source.name] = []
        for span in spans:
            if span.text not in seen:
                seen.add(span.text)
                offers[source.name].append(span)
    weights = {source.name: source.weight for source in config.sources}
    counts = mixture(weights, {name: len(o) for name, o in offers.items()}, config.texts)
    taken = [span for name, count in counts.items() for span in offers[name][:count]]
    taken.sort(key=lambda s: (draw(config.seed, "row", *identity(s)), s.text))

    sizes = Counter((span.source, span.doc_id) for span in taken)
    wanted = ceil(Fraction(str(config.held_out_fraction)) * len(taken))
    held_out: set[tuple[str, str]] = set()
    for document in sorted(sizes, key=lambda who: draw(config.seed, "held-out", *who)):
        if sum(sizes[one] for one in held_out) >= wanted:
            break
        held_out.add(document)
    first = [span for span in taken if (span.source, span.doc_id) in held_out]
    rest = [span for span in taken if (span.source, span.doc_id) not in held_out]
    return first + rest, len(first)
