"""Second stage: of equal texts one stays. Equal texts have equal digests, so parts are independent.

A part is a range of digests. What every run has of it is small and lies together in its file.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.executors import Begun, done
from data_prep.files import atomic_write
from data_prep.keys import KEYS, OFFERED, Records
from data_prep.scratch import Scratch
from data_prep.writing import told_disk_errors

STAGE = "offers"
PART_SPANS = 500_000
_RANGE = 2**64


@dataclass(frozen=True, slots=True)
class DropDuplicates:
    """Makes the worker of this stage.

    Attributes:
        corpus: Directory of the corpus.
        runs: Unit and number of every run.
        parts: How many parts there are.
    """

    corpus: Path
    runs: tuple[tuple[int, int], ...]
    parts: int

    def __call__(self) -> Callable[[int], Begun[dict[str, Any]]]:
        """Make the worker where it runs.

        Returns:
            Takes the number of a part; gives its record: how many spans each source offers (by
            its place in the configuration) and how many ``duplicate`` ones were dropped.
        """
        scratch = Scratch(self.corpus)

        def work(part: int) -> Begun[dict[str, Any]]:
            with told_disk_errors(self.corpus):
                record = self._do(part, scratch)
            return done(record)

        return work

    def _do(self, part: int, scratch: Scratch) -> dict[str, Any]:
        keys = np.concatenate(
            [np.zeros(0, KEYS)]
            + [_part_of(scratch.keys(*run), part, self.parts) for run in self.runs]
        )
        offered = without_duplicates(keys)
        with atomic_write(scratch.offers(part)) as temporary:
            offered.tofile(temporary)
        record = {
            "available": _counts(offered),
            "duplicate": len(keys) - len(offered),
        }
        scratch.finish(STAGE, part, record)
        return record


def number_of_parts(spans: int) -> int:
    """Choose into how many parts the digests are divided.

    Args:
        spans: Spans that were read.

    Returns:
        The number: a part has about half a million spans.
    """
    return max(1, -(-spans // PART_SPANS))


def without_duplicates(keys: Records) -> Records:
    """Keep one of the spans of each text.

    Args:
        keys: Records of ``KEYS``, in any order.

    Returns:
        Records of ``OFFERED``, in the order of the digests. Of equal texts, the earlier source's
        stays; within a source the one with the lowest ``take``; within an identity the one with
        fewer sentences, and rather the one that is not shuffled.
    """
    keys = keys[np.argsort(keys["text"])]
    stays = np.ones(len(keys), bool)
    same = keys["text"][1:] == keys["text"][:-1]
    if same.any():
        doubtful = np.zeros(len(keys), bool)
        doubtful[1:] |= same
        doubtful[:-1] |= same
        rivals = keys[doubtful]
        names = ("text", "text_rest", "source", "take", "sentences", "shuffled", "held_out")
        columns = [rivals[name] for name in (*names, "unit", "run", "index")]
        rivals = rivals[np.lexsort(columns[::-1])]
        first = np.ones(len(rivals), bool)
        first[1:] = (rivals["text"][1:] != rivals["text"][:-1]) | (
            rivals["text_rest"][1:] != rivals["text_rest"][:-1]
        )
        # Rivals are neighbours: sorted, they take the places that they have together.
        keys[doubtful] = rivals
        stays[doubtful] = first
    offered = np.empty(int(stays.sum()), OFFERED)
    for name in OFFERED.names or ():
        offered[name] = keys[name][stays]
    return offered


def _counts(offered: Records) -> Mapping[str, int]:
    counts = Counter[int]()
    sources, numbers = np.unique(offered["source"], return_counts=True)
    counts.update(dict(zip(sources.tolist(), numbers.tolist(), strict=True)))
    return {str(source): number for source, number in counts.items()}


def _part_of(path: Path, part: int, parts: int) -> Records:
    """Read the records of a run whose digests are in a part; the file is in their order."""
    mapped = np.memmap(path, KEYS, "r")
    bounds = [part * _RANGE // parts, (part + 1) * _RANGE // parts]
    first, stop = (
        len(mapped) if bound == _RANGE else _first_at_least(mapped, bound) for bound in bounds
    )
    return np.array(mapped[first:stop])


def _first_at_least(mapped: Records, bound: int) -> int:
    """Find a place by halving, which looks at a few pages of the file."""
    low, high = 0, len(mapped)
    while low < high:
        middle = (low + high) // 2
        if int(mapped[middle]["text"]) < bound:
            low = middle + 1
        else:
            high = middle
    return low
