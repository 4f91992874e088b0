"""Rows with the same vector: found by a hash per row, and told from rows with the same meaning."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from teacher_cache.config import TeacherConfig
from teacher_cache.storage import Stored
from teacher_cache.store import TeacherStore

if TYPE_CHECKING:
    from data_prep.corpus import Corpus

_Words = npt.NDArray[np.uint64]

_BUCKETS = 16
"""Parts in which hashes are sorted, so that sorting takes a sixteenth of their memory."""

_MOST_EXAMINED = 2**16
"""Rows whose bytes and texts are compared; where more collide, these stand for the others."""

_ROWS_AT_A_TIME = 1024
_MOST_KINDS = 16
_SPECIAL_TOKENS = 8


class RowHashes:
    """Eight bytes for every row of a teacher that was looked at."""

    def __init__(self, seed: int = 0) -> None:
        """Begin with no row.

        Args:
            seed: Decides the hash.
        """
        self._rng = np.random.default_rng(seed)
        self._factors = np.empty(0, np.uint64)
        self._blocks: list[tuple[int, _Words]] = []

    def __len__(self) -> int:
        return sum(len(hashes) for _, hashes in self._blocks)

    def add(self, first_row: int, stored: Stored) -> None:
        """Hash consecutive rows.

        Args:
            first_row: The row of the first.
            stored: (n, columns) as they are stored.
        """
        content = np.ascontiguousarray(stored).view(np.uint8).reshape(len(stored), -1)
        whole = content.shape[1] // 8 * 8
        rest = np.zeros((len(content), 8), np.uint8)
        rest[:, : content.shape[1] - whole] = content[:, whole:]
        if not self._factors.size:
            drawn = self._rng.integers(0, 2**64, whole // 8 + 1, dtype=np.uint64)
            self._factors = drawn | np.uint64(1)
        hashes = _mixed(rest.view(np.uint64)) @ self._factors[-1:]
        if whole:
            hashes += _mixed(content[:, :whole].view(np.uint64)) @ self._factors[:-1]
        self._blocks.append((first_row, hashes))

    def drop(self, rows: range) -> None:
        """Forget rows that turned out not to be what was committed.

        Args:
            rows: Consecutive rows.
        """
        self._blocks = [block for block in self._blocks if block[0] not in rows]

    def groups(self) -> tuple[list[list[int]], int]:
        """Find rows that share their hash.

        Returns:
            Groups of two or more rows each, with at most 65,536 rows in all; and how many rows
            share their hash altogether.
        """
        found = [self._repeated(bucket) for bucket in range(_BUCKETS)]
        values = np.concatenate([values for values, _ in found])
        counts = np.concatenate([counts for _, counts in found])
        total = int(counts.sum())
        kept = max(1, int(np.searchsorted(np.cumsum(counts), _MOST_EXAMINED, side="right")))
        values = values[:kept]
        if not values.size:
            return [], 0
        groups: dict[int, list[int]] = {}
        room = _MOST_EXAMINED
        for first_row, hashes in self._blocks:
            places = np.minimum(np.searchsorted(values, hashes), len(values) - 1)
            hits = np.flatnonzero(values[places] == hashes)[:room]
            room -= len(hits)
            for value, row in zip(places[hits].tolist(), hits.tolist(), strict=True):
                groups.setdefault(value, []).append(first_row + row)
        return [rows for rows in groups.values() if len(rows) > 1], total

    def _repeated(self, bucket: int) -> tuple[_Words, npt.NDArray[np.int64]]:
        """Hashes of a bucket that come more than once, ascending, and how often they do."""
        parts = [hashes[hashes >> np.uint64(60) == bucket] for _, hashes in self._blocks]
        hashes = np.concatenate(parts) if parts else np.empty(0, np.uint64)
        hashes.sort()
        starts = np.flatnonzero(np.diff(hashes, prepend=~hashes[:1]) != 0)
        counts = np.diff(starts, append=len(hashes))
        return hashes[starts[counts > 1]], counts[counts > 1]


def _mixed(words: _Words) -> _Words:
    """Bring the upper bits down, because a product's lower bits do not see them."""
    mixed: _Words = words ^ (words >> np.uint64(29))
    return mixed


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows of a teacher that have another row's vector though their texts differ.

    Attributes:
        rows: How many; an estimate where very many vectors are equal.
        of: Rows that were looked at.
        example: Two of them.
        texts: Their texts.
    """

    rows: int
    of: int
    example: tuple[int, int]
    texts: tuple[str, str]


def find_duplicates(
    store: TeacherStore, corpus: "Corpus", teacher: str, hashes: RowHashes, skip: frozenset[int]
) -> Duplicates | None:
    """Find rows with the same stored bytes whose texts do not explain it.

    Args:
        store: The store.
        corpus: Its corpus.
        teacher: The teacher's name.
        hashes: Of the teacher's rows that were looked at.
        skip: Shards whose texts cannot be trusted.

    Returns:
        What was found; None if the texts explain everything.

    Raises:
        PipeError: A shard was changed meanwhile.
    """
    groups, total = hashes.groups()
    examined = sum(map(len, groups))
    per_shard = store.layout.rows_per_shard
    groups = [[row for row in group if row // per_shard not in skip] for group in groups]
    config = store.entry(teacher).config
    concerned, example, texts = 0, None, ("", "")
    for batch in _batches(groups):
        rows = np.array([row for group in batch for row in group])
        stored = store.read_stored(teacher, rows)
        raw, roles = corpus.take(rows)
        prompted = config.prompts.in_front_of(raw, roles)
        first = 0
        for group in batch:
            own = slice(first, first + len(group))
            first += len(group)
            for places in _equal(stored[own]):
                kinds, unlike = _kinds([prompted[own][place] for place in places], config)
                concerned += unlike
                if unlike and example is None:
                    one, other = (places[kind] for kind in kinds[:2])
                    example = (group[one], group[other])
                    texts = (raw[own][one], raw[own][other])
    if example is None:
        return None
    return Duplicates(round(concerned * max(1.0, total / examined)), len(hashes), example, texts)


def _batches(groups: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Groups together, about a thousand rows at a time; a larger group comes in parts."""
    batch: list[list[int]] = []
    for group in groups:
        for first in range(0, len(group), _ROWS_AT_A_TIME):
            batch.append(group[first : first + _ROWS_AT_A_TIME])
            if sum(map(len, batch)) >= _ROWS_AT_A_TIME:
                yield batch
                batch = []
    if batch:
        yield batch


def _equal(stored: Stored) -> list[list[int]]:
    """Places of rows (n, columns) with equal bytes, two or more together."""
    places: dict[bytes, list[int]] = {}
    for place, row in enumerate(stored):
        places.setdefault(row.tobytes(), []).append(place)
    return [equal for equal in places.values() if len(equal) > 1]


def _kinds(texts: Sequence[str], teacher: TeacherConfig) -> tuple[list[int], int]:
    """The first text of every meaning, and how many texts are concerned if there are several."""
    kinds = [0]
    unlike = 0
    for place in range(1, len(texts)):
        if any(explains(texts[kind], texts[place], teacher) for kind in kinds):
            continue
        unlike += 1
        if len(kinds) < _MOST_KINDS:
            kinds.append(place)
    return kinds, unlike + 1 if unlike else 0


def explains(one: str, other: str, teacher: TeacherConfig) -> bool:
    """Say whether a teacher may give two texts the same vector and be sound.

    It may if they differ in case, accents, blanks or compatibility forms alone; if they have the
    same words in another order, which a bag of words does not see; or if they begin alike for so
    long that the rest is cut off.

    Args:
        one: A text as the teacher gets it, prompt and all.
        other: Another.
        teacher: The teacher's settings.

    Returns:
        Whether it may.

    >>> from teacher_cache.config import TeacherConfig
    >>> teacher = TeacherConfig(name="t", kind="dummy", model="t", dim=8, max_tokens=32)
    >>> explains("A  red caf\u00e9", "red a CAFE", teacher), explains("red", "green", teacher)
    (True, False)
    """
    # A token is a character at least, as good as always.
    cut = max(1, teacher.max_tokens - _SPECIAL_TOKENS)
    if _begin_alike(one, other, cut):
        return True
    plain, other_plain = _plain(one), _plain(other)
    return sorted(plain.split()) == sorted(other_plain.split()) or _begin_alike(
        plain, other_plain, cut
    )


def _begin_alike(one: str, other: str, characters: int) -> bool:
    return len(one) >= characters and one[:characters] == other[:characters]


def _plain(text: str) -> str:
    """Without case, accents and compatibility forms; blanks collapsed."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    return " ".join(unicodedata.normalize("NFKC", plain).split())
