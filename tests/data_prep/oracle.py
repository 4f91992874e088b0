"""The corpus in a few lines, in memory: what the real one must agree with."""

from collections import Counter
from fractions import Fraction
from math import ceil

from data_prep.config import CorpusConfig
from data_prep.draws import draws, key_of
from data_prep.mixture import mixture
from data_prep.records import Span
from data_prep.sources import read_documents
from data_prep.spans import OF_A_DOCUMENT, OF_A_SPAN, Cutter


def numbers(span: Span, seed: int) -> tuple[bytes, bytes]:
    """The numbers by which a span is taken and gets its row."""
    key = key_of(span.source, span.doc_id, span.first_sentence)
    drawn = draws(seed, *OF_A_SPAN).digest(key)
    return drawn[:8], drawn[8:16]


def held_out_number(document: tuple[str, str], seed: int) -> bytes:
    return draws(seed, *OF_A_DOCUMENT).digest(key_of(*document))[8:]


def rows_of(config: CorpusConfig) -> tuple[list[Span], int]:
    """Make the rows of a corpus, and the number of those held out."""
    seen: set[str] = set()
    offers: dict[str, list[Span]] = {}
    cutter = Cutter(config)
    for source in config.sources:
        spans = [span for one in read_documents(source) for span in cutter.cut(one).spans]
        spans.sort(key=lambda s: (numbers(s, config.seed)[0], s.doc_id, s.text))
        offers[source.name] = []
        for span in spans:
            if span.text not in seen:
                seen.add(span.text)
                offers[source.name].append(span)
    weights = {source.name: source.weight for source in config.sources}
    counts = mixture(weights, {name: len(o) for name, o in offers.items()}, config.texts)
    taken = [span for name, count in counts.items() for span in offers[name][:count]]
    taken.sort(key=lambda s: (numbers(s, config.seed)[1], s.text))

    sizes = Counter((span.source, span.doc_id) for span in taken)
    wanted = ceil(Fraction(str(config.held_out_fraction)) * len(taken))
    held_out: set[tuple[str, str]] = set()
    for document in sorted(sizes, key=lambda who: held_out_number(who, config.seed)):
        if sum(sizes[one] for one in held_out) >= wanted:
            break
        held_out.add(document)
    first = [span for span in taken if (span.source, span.doc_id) in held_out]
    rest = [span for span in taken if (span.source, span.doc_id) not in held_out]
    return first + rest, len(first)
