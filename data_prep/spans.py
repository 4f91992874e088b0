"""From a document to its spans (paper, section 3.2)."""

import re
from itertools import accumulate
from typing import NamedTuple

from data_prep.config import CorpusConfig
from data_prep.draws import below, bound, draws, key_of
from data_prep.records import Document, Span
from data_prep.sentences import sentences

_WORD = re.compile(r"\S+")

OF_A_DOCUMENT = ("cut", "held-out")
OF_A_SPAN = ("take", "row", "word-shuffle")
"""What is drawn together for each: hashing is the dearest part of cutting."""


class Cut(NamedTuple):
    """A document's spans and what else is drawn for them.

    Attributes:
        spans: The spans, in order.
        texts: Their texts with the words in order.
        held_out: Eight bytes: the lowest documents are held out.
        places: For each span sixteen bytes: the lowest eight are taken; the others give its row.
    """

    spans: list[Span]
    texts: list[str]
    held_out: bytes
    places: list[bytes]


def cut_fraction_of(document: Document, config: CorpusConfig) -> float:
    """Say how likely a document is to be cut.

    Args:
        document: Any document.
        config: Its source's setting comes first; without one, questions are never cut.

    Returns:
        A fraction from 0 to 1.
    """
    for source in config.sources:
        if source.name == document.source and source.cut_fraction is not None:
            return source.cut_fraction
    return 0.0 if document.role == "question" else config.cut_fraction


def language_of(document: Document, config: CorpusConfig) -> str:
    """Say which language's rules find a document's sentences.

    Args:
        document: Any document.
        config: Its source's setting.

    Returns:
        An ISO 639-1 code.
    """
    languages = (source.language for source in config.sources if source.name == document.source)
    return next(languages, "en")


class Cutter:
    """Makes the spans of many documents.

    ``cut_fraction`` of the documents are divided into consecutive runs of ``min_sentences`` to
    ``max_sentences`` sentences, each length as likely as any other; the last run takes what is
    left. Every sentence is in exactly one span. The other documents are one span each. The words
    of ``word_shuffle_fraction`` of the spans are shuffled.

    Args:
        config: The fractions, the limits and the seed.
    """

    def __init__(self, config: CorpusConfig) -> None:
        self._config = config
        self._of_document = draws(config.seed, *OF_A_DOCUMENT)
        self._of_span = draws(config.seed, *OF_A_SPAN)
        self._shuffle_below = bound(config.word_shuffle_fraction)
        self._sources: dict[tuple[str, str], tuple[bytes, str, bytes]] = {}

    def _of_source(self, document: Document) -> tuple[bytes, str, bytes]:
        """What all keys of a source begin with, its language, and which documents are cut."""
        place = (document.source, document.role)
        if place not in self._sources:
            self._sources[place] = (
                key_of(document.source, ""),
                language_of(document, self._config),
                bound(cut_fraction_of(document, self._config)),
            )
        return self._sources[place]

    def cut(self, document: Document) -> Cut:
        """Make a document's spans.

        Args:
            document: Any document without lone surrogates.

        Returns:
            The spans in order, none if the document is blank, and their numbers. They depend on
            the seed and on the document's source, id and text alone.
        """
        text = document.text.strip()
        if not text:
            return Cut([], [], b"", [])
        prefix, language, cut_below = self._of_source(document)
        key = prefix + key_of(document.doc_id)
        drawn = self._of_document.digest(key)
        parts = sentences(document.text, language, document.plain)
        if drawn[:8] < cut_below:
            lengths = _run_lengths(len(parts), self._config, key)
            firsts = list(accumulate(lengths[:-1], initial=0))
            texts = [
                "".join(parts[first : first + length]).strip()
                for first, length in zip(firsts, lengths, strict=True)
            ]
        else:
            lengths, firsts, texts = [len(parts)], [0], [text]
        spans, places = [], []
        for whole, first, length in zip(texts, firsts, lengths, strict=True):
            numbers = self._of_span.digest(b"%b\0%d" % (key, first))
            spans.append(self._span(document, whole, first, length, numbers[16:]))
            places.append(numbers[:16])
        return Cut(spans, texts, drawn[8:], places)

    def _span(
        self, document: Document, whole: str, first: int, length: int, shuffle: bytes
    ) -> Span:
        source, doc_id, _, role, *_ = document
        text = whole
        if shuffle < self._shuffle_below:
            text = shuffle_words(whole, self._config.seed, source, doc_id, first)
        return Span(text, doc_id, source, role, first, length, text != whole)


def shuffle_words(text: str, seed: int, *identity: str | int) -> str:
    """Put a text's words into a random order and leave the whitespace between them where it is.

    Args:
        text: Any text; one word or none comes back as it is.
        seed: The corpus's seed.
        identity: Names the text; decides the order.

    Returns:
        The shuffled text, as long as the original. The order is a random cycle (Sattolo), so
        every word leaves its place and two words always change places.
    """
    words = _WORD.findall(text)
    key = key_of(*identity)
    for last in range(len(words) - 1, 0, -1):
        other = below(last, draws(seed, "word-order").number(b"%b\0%d" % (key, last)))
        words[last], words[other] = words[other], words[last]
    following = iter(words)
    return _WORD.sub(lambda _: next(following), text)


def _run_lengths(count: int, config: CorpusConfig, key: bytes) -> list[int]:
    """Divide ``count`` sentences into runs; the last may be shorter than the minimum."""
    choices = config.max_sentences - config.min_sentences + 1
    lengths: list[int] = []
    first = 0
    while first < count:
        number = draws(config.seed, "run-length").number(b"%b\0%d" % (key, first))
        length = min(config.min_sentences + below(choices, number), count - first)
        lengths.append(length)
        first += length
    return lengths
