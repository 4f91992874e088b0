"""Which spans a corpus takes and which documents it holds out: thresholds, found without sorting.

Whatever is chosen is chosen as the lowest of some drawn numbers. So a choice is a threshold, and
the n-th smallest of any number of numbers is found by counting them, in the memory of a few.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
import numpy.typing as npt

from data_prep.keys import Numbers, Records

_STEP = 16
_IN_MEMORY = 2**21


def nth_smallest(chunks: Callable[[], Iterable[Numbers]], n: int) -> int:
    """Find the n-th smallest of many numbers.

    Args:
        chunks: Gives all of them, chunk by chunk; called a few times.
        n: From 1 to how many there are.

    Returns:
        The number.

    >>> nth_smallest(lambda: [np.array([5, 2], np.uint64), np.array([9, 2], np.uint64)], 3)
    5
    """
    prefix = 0
    for shift in range(64 - _STEP, -1, -_STEP):
        counts = np.zeros(2**_STEP, np.int64)
        for chunk in chunks():
            inside = _beginning_with(chunk, prefix, shift + _STEP)
            digits = (inside >> np.uint64(shift)) & np.uint64(2**_STEP - 1)
            counts += np.bincount(digits.astype(np.int64), minlength=2**_STEP)
        passed = np.cumsum(counts)
        digit = int(np.searchsorted(passed, n))
        n -= int(passed[digit - 1]) if digit else 0
        prefix = prefix << _STEP | digit
        if counts[digit] <= _IN_MEMORY:
            left = np.concatenate([_beginning_with(chunk, prefix, shift) for chunk in chunks()])
            return int(np.partition(left, n - 1)[n - 1])
    return prefix


def _beginning_with(numbers: Numbers, prefix: int, shift: int) -> Numbers:
    if shift == 64:
        return numbers
    inside: Numbers = numbers[(numbers >> np.uint64(shift)) == np.uint64(prefix)]
    return inside


@dataclass(frozen=True, slots=True)
class Threshold:
    """Which spans of a source are taken: those below a number, and some of those at it.

    Attributes:
        take: All spans below it are taken; none above it.
        at: Digests of the texts that are taken at it; None takes all.
    """

    take: int
    at: Numbers | None = None

    def chooses(self, offers: Records) -> npt.NDArray[np.bool_]:
        """Say which spans are taken.

        Args:
            offers: Records of ``OFFERED``, shape (n,); what is said of other sources means nothing.

        Returns:
            A truth value for each.
        """
        take = np.uint64(self.take)
        if self.at is None:
            return np.asarray(offers["take"] <= take)
        tied = offers["take"] == take
        return np.asarray((offers["take"] < take) | (tied & np.isin(offers["text"], self.at)))


ALL = Threshold(2**64 - 1)
"""Takes every span."""


def threshold(
    chunks: Callable[[], Iterable[Records]], count: int, tied: Callable[[Records, int], Records]
) -> Threshold:
    """Find the threshold that takes so many spans of a source.

    Args:
        chunks: Gives the source's offers, chunk by chunk.
        count: How many to take; from 0 to how many there are.
        tied: Chooses so many of offers that share a number.

    Returns:
        The threshold.
    """
    if count == 0:
        return Threshold(0, np.zeros(0, np.uint64))
    take = nth_smallest(lambda: (chunk["take"] for chunk in chunks()), count)
    below = sum(int((chunk["take"] < np.uint64(take)).sum()) for chunk in chunks())
    ties = np.concatenate([chunk[chunk["take"] == np.uint64(take)] for chunk in chunks()])
    if below + len(ties) == count:
        return Threshold(take)
    return Threshold(take, tied(ties, count - below)["text"])


def held_out_threshold(
    chunks: Callable[[], Iterable[Numbers]], rows: int, fraction: float
) -> int | None:
    """Find up to which number documents are held out, in the order of their numbers.

    Args:
        chunks: Gives the number of each taken span's document, chunk by chunk.
        rows: How many there are.
        fraction: Of the rows; rounded up, and then to whole documents.

    Returns:
        The number of the last document that is held out; None if none is.
    """
    wanted = ceil(Fraction(str(fraction)) * rows)
    if not wanted:
        return None
    return nth_smallest(chunks, wanted)


def distinct(chunks: Callable[[], Iterable[Numbers]], rows: int) -> int:
    """Count different numbers, in the memory of a few million.

    Args:
        chunks: Gives the numbers, spread evenly over 64 bits, chunk by chunk; called repeatedly.
        rows: How many there are.

    Returns:
        How many different ones.
    """
    passes = max(1, -(-rows // (2 * _IN_MEMORY)))
    total = 0
    for number in range(passes):
        low, high = number * 2**64 // passes, (number + 1) * 2**64 // passes - 1
        inside = np.concatenate(
            [chunk[(chunk >= np.uint64(low)) & (chunk <= np.uint64(high))] for chunk in chunks()]
        )
        inside.sort()  # many times as quick as the hash table of numpy.unique
        total += min(len(inside), 1) + int((inside[1:] != inside[:-1]).sum())
    return total
