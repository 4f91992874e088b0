"""Cleaning: what is mended in a document, and which documents and spans are left out."""

import re
import unicodedata

from data_prep.config import CorpusConfig
from data_prep.decontaminate import EvaluationTexts, Overlap
from data_prep.records import Document
from data_prep.sentences import sentences
from data_prep.spans import language_of

EMPTY, SHORT, CONTAMINATED, UNREADABLE = "empty", "short", "contaminated", "unreadable"
REASONS = (EMPTY, SHORT, CONTAMINATED, UNREADABLE)
"""Why a document or a span is left out, as the manifest counts it."""

# Line ends of every kind become one kind; the other control characters (C0, DEL, C1) and the mark
# of byte order, which is no character inside a text, go.
_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\ufeff]")
_EITHER = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


def normalise(text: str) -> str:
    r"""Write a text in the one way that equal texts are written.

    Args:
        text: Any string without lone surrogates.

    Returns:
        The text in Unicode's form NFC, with ``\n`` for every kind of line end and without control
        characters other than ``\n`` and the tab. Normalising it again changes nothing.

    >>> normalise("cafe\u0301\r\nbar\x07")
    'café\nbar'
    """
    # None of them is printable, and that is asked in a tenth of the time.
    if not text.isprintable() and _EITHER.search(text) is not None:
        text = _CONTROL.sub("", _LINE_END.sub("\n", text))
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def shorten(text: str, most: int, language: str = "en") -> str:
    """Cut a text that is too long where a sentence ends.

    Args:
        text: Any text without lone surrogates.
        most: Characters that may stay.
        language: ISO 639-1 code of the rules that find sentences.

    Returns:
        The text up to the last sentence that ends within ``most`` characters; if none does, up to
        the last word; if none ends either, the first ``most`` characters.
    """
    if len(text) <= most:
        return text
    head = text[:most]
    whole = sentences(head, language)[:-1]
    if any(part.strip() for part in whole):
        return "".join(whole).rstrip()
    # The last word may have been cut, unless the text goes on with whitespace.
    words = head if text[most].isspace() else re.sub(r"\S+\Z", "", head)
    return words.rstrip() or head


class Cleaner:
    """Mends documents and says what is left out; a pure function of the configuration.

    Each worker process makes one of its own, or gets one by pickle.

    Args:
        config: The bounds and the evaluation texts.

    Raises:
        PipeError: Evaluation texts are missing or cannot be read.
    """

    def __init__(self, config: CorpusConfig) -> None:
        self._least, self._most = config.min_characters, config.max_characters
        self._config = config
        self._evaluation = (
            EvaluationTexts.read(config.decontaminate, config.decontaminate_words)
            if config.decontaminate
            else None
        )

    def clean(self, document: Document) -> Document | str:
        """Clean a document before it is cut.

        Args:
            document: What a source yielded.

        Returns:
            The document, normalised and no longer than ``max_characters``; or why it is left out:
            one of ``REASONS``.
        """
        if document.problem is not None:
            return UNREADABLE
        text = document.text if document.plain else normalise(document.text)
        if (length := len(text.strip())) < self._least:
            return SHORT if length else EMPTY
        if len(text) <= self._most and text == document.text:
            return document
        shorter = shorten(text, self._most, language_of(document, self._config))
        return document._replace(
            text=shorter,
            normalised=text != document.text,
            shortened=len(shorter) < len(text),
        )

    def keeps(self, text: str) -> str | None:
        """Say whether a span stays.

        Args:
            text: A span's text with its words in order, so that no run of them hides.

        Returns:
            None if it stays; otherwise one of ``REASONS``.
        """
        if len(text) < self._least:
            return SHORT
        if self._evaluation is None:
            return None
        return CONTAMINATED if self.overlap(text) is not None else None

    def overlap(self, text: str) -> Overlap | None:
        """Find what a span shares with an evaluation text.

        Args:
            text: As for ``keeps``.

        Returns:
            The first n-gram shared and the set; None if there is none.
        """
        return None if self._evaluation is None else self._evaluation.overlap(text)
