"""Decontamination: does a text share a run of words with an evaluation text?

Every run of n words of an evaluation text is one 64-bit hash in a sorted array; memory is 12 bytes
a run, whatever the texts. A text of fewer than n words is compared as a whole, with evaluation
texts as short; one of fewer than three is not compared, since ids, labels and numbers are such.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from data_prep.evaluation_texts import texts_of

_Hashes = npt.NDArray[np.uint64]

FEWEST_WORDS = 3
# A polynomial modulo 2**64 in an odd base, which has an inverse, so that every run of words is
# hashed from two prefix sums.
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 2**64)
_BLOCK = 100_000
_ASCII_WORD, _WORD = re.compile("[a-z0-9]+"), re.compile(r"[^\W_]+")
# Neither Latin, Greek, Cyrillic nor Armenian letters, nor punctuation and symbols.
_PECULIAR = re.compile("[^\x00-\u02ff\u0370-\u0482\u048a-\u0590\u1e00-\u20cf\u2100-\u2bff]")
# Scripts without spaces between words: each character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a text shares with an evaluation text.

    Attributes:
        ngram: The words, normalised, with a space between them.
        evaluation_set: The file that has them, below the directory of the evaluation sets.
    """

    ngram: str
    evaluation_set: str


def words_of(text: str) -> list[str]:
    """Take the words out of a text, in the one form that is compared.

    Args:
        text: Any text.

    Returns:
        Lower-case runs of letters and digits. Other scripts keep their marks; in those that put
        no spaces between words, each character is a word.

    >>> words_of("The U.S. grew by 4.2%, it's said.")
    ['the', 'u', 's', 'grew', 'by', '4', '2', 'it', 's', 'said']
    >>> words_of("Straße 东京")
    ['strasse', '东', '京']
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    text = unicodedata.normalize("NFKC", text).casefold()
    return (_any_script() if _PECULIAR.search(text) else _WORD).findall(text)


class EvaluationTexts:
    """The hashed runs of words of evaluation sets.

    Args:
        texts: Pairs of a set's name and a text.
        words: Words of a run.
    """

    def __init__(self, texts: Iterable[tuple[str, str]], words: int) -> None:
        self.words = words
        self.sets: list[str] = []
        runs, counts = array("Q"), array("Q")
        for name, text in texts:
            if not self.sets or self.sets[-1] != name:
                self.sets.append(name)
                counts.append(0)
            hashes = _hashes(words_of(text), words)
            runs.frombytes(hashes.tobytes())
            counts[-1] += len(hashes)
        self._hashes, first = np.unique(np.asarray(runs, dtype=np.uint64), return_index=True)
        owners = np.arange(len(self.sets), dtype=np.uint32)
        self._owners = owners.repeat(np.asarray(counts, dtype=np.int64))[first]

    @classmethod
    def read(cls, places: Sequence[str], words: int) -> "EvaluationTexts":
        """Read evaluation sets.

        Args:
            places: Directories or files.
            words: Words of a run.

        Returns:
            Their texts, hashed.

        Raises:
            PipeError: One of them is missing, cannot be read or holds no text.
        """
        return cls((pair for place in places for pair in texts_of(place)), words)

    def __len__(self) -> int:
        """How many different runs there are."""
        return len(self._hashes)

    def overlap(self, text: str) -> Overlap | None:
        """Find the first run of words that a text shares with an evaluation text.

        Args:
            text: Any text.

        Returns:
            The run and the set (the first of those that have it); None if there is none.
        """
        words = words_of(text)
        hashes = _hashes(words, self.words)
        if not len(hashes) or not len(self._hashes):
            return None
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        shared = np.flatnonzero(self._hashes[places] == hashes)
        if not len(shared):
            return None
        first = int(shared[0])
        return Overlap(
            ngram=" ".join(words[first : first + self.words]),
            evaluation_set=self.sets[int(self._owners[places[first]])],
        )


def _hashes(words: list[str], count: int) -> _Hashes:
    """Hash every run of ``count`` words; fewer words than that are one run."""
    if len(words) > _BLOCK:
        return np.concatenate([
            _hashes(words[first : first + _BLOCK], count)
            for first in range(0, len(words) - count + 1, _BLOCK - count + 1)
        ])  # fmt: skip
    if len(words) < min(count, FEWEST_WORDS):
        return np.empty(0, dtype=np.uint64)
    letters = np.frombuffer(" ".join([*words, ""]).encode(), dtype=np.uint8)
    powers, inverses = _powers(1 << len(letters).bit_length())
    # Letters count from 1, so that none adds nothing.
    sums = np.cumsum((letters + np.uint64(1)) * powers[: len(letters)], dtype=np.uint64)
    ends = np.flatnonzero(letters == ord(" "))
    starts = np.concatenate(([0], ends[:-1] + 1))
    run = min(count, len(words))
    first, last = starts[: len(starts) - run + 1], ends[run - 1 :]
    before = np.where(first > 0, sums[first - 1], np.uint64(0))
    hashes: _Hashes = (sums[last] - before) * inverses[first]
    return hashes


@lru_cache(maxsize=32)
def _powers(length: int) -> tuple[_Hashes, _Hashes]:
    factors = np.ones((2, length), dtype=np.uint64)
    factors[0, 1:], factors[1, 1:] = np.uint64(_BASE), np.uint64(_INVERSE)
    powers, inverses = np.cumprod(factors, axis=1, dtype=np.uint64)
    return powers, inverses


@lru_cache(maxsize=1)
def _any_script() -> re.Pattern[str]:
    r"""A word of any script: ``[^\W_]+`` breaks at marks and not between Chinese characters."""
    marks = "".join(
        character
        for character in map(chr, range(0x300, 0x1F000))
        if unicodedata.category(character).startswith("M")
    )
    return re.compile(f"[{_UNSPACED}][{marks}]*|(?:(?![_{_UNSPACED}])[\\w{marks}])+")
