"""From a document to its spans (paper, section 3.2)."""

import re
from itertools import accumulate

from data_prep.config import CorpusConfig
from data_prep.draws import below, draws, happens, key_of
from data_prep.records import Document, Span
from data_prep.sentences import sentences

_WORD = re.compile(r"\S+")


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


def spans_of(document: Document, config: CorpusConfig) -> list[Span]:
    """Make a document's spans.

    ``cut_fraction`` of the documents are divided into consecutive runs of ``min_sentences`` to
    ``max_sentences`` sentences, each length as likely as any other; the last run takes what is
    left. Every sentence is in exactly one span. The other documents are one span each. The words
    of ``word_shuffle_fraction`` of the spans are shuffled.

    Args:
        document: Any document without lone surrogates.
        config: The fractions, the limits and the seed.

    Returns:
        The spans in order; empty if the document is blank. They depend on the seed and on the
        document's source, id and text alone.
    """
    return Cutter(config).spans_of(document)


class Cutter:
    """Makes the spans of many documents; see ``spans_of``.

    Args:
        config: The fractions, the limits and the seed.
    """

    def __init__(self, config: CorpusConfig) -> None:
        self._config = config
        self._cut, self._shuffle = draws(config.seed, "cut"), draws(config.seed, "word-shuffle")
        self._sources: dict[tuple[str, str], tuple[bytes, str, float]] = {}

    def _of_source(self, document: Document) -> tuple[bytes, str, float]:
        """What all keys of a source begin with, its language, and how likely it is to be cut."""
        place = (document.source, document.role)
        if place not in self._sources:
            self._sources[place] = (
                key_of(document.source, ""),
                language_of(document, self._config),
                cut_fraction_of(document, self._config),
            )
        return self._sources[place]

    def spans_of(self, document: Document) -> list[Span]:
        """Make a document's spans.

        Args:
            document: Any document without lone surrogates.

        Returns:
            As for ``spans_of``.
        """
        text = document.text.strip()
        if not text:
            return []
        config = self._config
        prefix, language, cut_fraction = self._of_source(document)
        key = prefix + key_of(document.doc_id)
        parts = sentences(document.text, language)
        if not happens(cut_fraction, self._cut.number(key)):
            return [self._span(document, key, text, 0, len(parts))]
        lengths = _run_lengths(len(parts), config, key)
        return [
            self._span(document, key, "".join(parts[first : first + length]).strip(), first, length)
            for first, length in zip(accumulate(lengths, initial=0), lengths, strict=False)
        ]

    def _span(self, document: Document, key: bytes, text: str, first: int, length: int) -> Span:
        chosen = self._shuffle.number(b"%b\0%d" % (key, first))
        shuffled = text
        if happens(self._config.word_shuffle_fraction, chosen):
            identity = (document.source, document.doc_id, first)
            shuffled = shuffle_words(text, self._config.seed, *identity)
        return Span(
            text=shuffled,
            doc_id=document.doc_id,
            source=document.source,
            role=document.role,
            first_sentence=first,
            num_sentences=length,
            words_shuffled=shuffled != text,
        )


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
