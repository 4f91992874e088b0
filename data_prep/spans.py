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
    if not document.text.strip():
        return []
    key = key_of(document.source, document.doc_id)
    parts = sentences(document.text, language_of(document, config))
    if happens(cut_fraction_of(document, config), draws(config.seed, "cut").number(key)):
        lengths = _run_lengths(len(parts), config, key)
    else:
        lengths = [len(parts)]

    spans = []
    for first, length in zip(accumulate(lengths, initial=0), lengths, strict=False):
        text = "".join(parts[first : first + length]).strip()
        chosen = draws(config.seed, "word-shuffle").number(b"%b\0%d" % (key, first))
        shuffled = text
        if happens(config.word_shuffle_fraction, chosen):
            shuffled = shuffle_words(text, config.seed, document.source, document.doc_id, first)
        spans.append(
            Span(
                text=shuffled,
                doc_id=document.doc_id,
                source=document.source,
                role=document.role,
                first_sentence=first,
                num_sentences=length,
                words_shuffled=shuffled != text,
            )
        )
    return spans


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
