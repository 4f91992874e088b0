"""The two records of the room: what a source yields, and what the corpus holds.

Tuples, because millions are made and a tuple is made in half the time of a frozen dataclass.
"""

from typing import NamedTuple

from data_prep.config import Role


class Document(NamedTuple):
    """One document of a source.

    Attributes:
        source: Name of its source.
        doc_id: Names it within the source; with the seed, it decides every random choice about
            the document. Documents that share one are held out together.
        text: Its whole text.
        role: Whether it is a passage or a question.
        normalised: Whether cleaning changed its characters.
        shortened: Whether cleaning cut off its end.
        plain: Whether it is known to be plain; see ``data_prep.characters``.
        problem: Why it could not be read, in a sentence; None if it could.
    """

    source: str
    doc_id: str
    text: str
    role: Role
    normalised: bool = False
    shortened: bool = False
    plain: bool = False
    problem: str | None = None


class Span(NamedTuple):
    """One text of the corpus: a whole document, or consecutive sentences of one.

    Attributes:
        text: The text, without whitespace at its ends; never empty.
        doc_id: The document it comes from.
        source: The source of that document.
        role: Whether it is a passage or a question.
        first_sentence: Number of its first sentence in the document, from 0.
        num_sentences: How many sentences it holds.
        words_shuffled: Whether its words stand in another order than in the document.
    """

    text: str
    doc_id: str
    source: str
    role: Role
    first_sentence: int
    num_sentences: int
    words_shuffled: bool
