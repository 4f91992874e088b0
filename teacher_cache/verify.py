"""Verifying a store: everything that is committed, read and compared in full."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.storage import Storage, Stored
from teacher_cache.store import TeacherStore

if TYPE_CHECKING:
    from data_prep.corpus import Corpus

Kind = Literal["corpus", "array", "commit", "file", "values", "texts"]

_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a store.

    Attributes:
        teacher: The teacher's name; None if it concerns the whole store.
        shard: The shard's number; None if it concerns all of the teacher's.
        kind: What is wrong: the corpus, the array's metadata, the commit record, the shard's file,
            the values of its vectors, or its texts.
        message: What was found and what was expected.
    """

    teacher: str | None
    shard: int | None
    kind: Kind
    message: str


def verify(store: TeacherStore, corpus: "Corpus") -> list[Problem]:
    """Check every committed shard against its record, and its texts against the corpus.

    Args:
        store: The store, opened with ``check_commits=False`` so that nothing stops the list.
        corpus: The corpus that it was made from.

    Returns:
        All that is wrong, by teacher and shard; empty if the store is sound.
    """
    try:
        store.check_corpus(corpus)
    except PipeError as error:
        return [Problem(None, None, "corpus", str(error))]
    changed = dict(_changed_texts(store, corpus))
    return [
        problem
        for teacher in store.teachers
        for problem in _of_teacher(store, corpus, teacher, changed)
    ]


def _changed_texts(store: TeacherStore, corpus: "Corpus") -> Iterator[tuple[int, str]]:
    """Shards whose texts are not those of the corpus's manifest; each is read once."""
    committed = {shard for teacher in store.teachers for shard in store.committed(teacher)}
    for shard in sorted(committed.intersection(range(store.layout.num_shards))):
        try:
            corpus.check_shard(shard)
        except PipeError as error:
            yield shard, str(error)


def _of_teacher(
    store: TeacherStore, corpus: "Corpus", teacher: str, changed: dict[int, str]
) -> Iterator[Problem]:
    try:
        store.check_array(teacher)
    except PipeError as error:
        yield Problem(teacher, None, "array", str(error))
    for shard in sorted(store.committed(teacher)):
        if shard in changed:
            yield Problem(teacher, shard, "texts", changed[shard])
        for kind, message in _of_shard(store, corpus, teacher, shard):
            yield Problem(teacher, shard, kind, message)


def _of_shard(
    store: TeacherStore, corpus: "Corpus", teacher: str, shard: int
) -> Iterator[tuple[Kind, str]]:
    try:
        commit = store.commit(teacher, shard)
    except PipeError as error:
        yield "commit", str(error)
        return
    if commit is None:
        return
    if commit.text_digest != corpus.text_digest(shard):
        yield (
            "texts",
            f"the commit of shard {shard} of {teacher} is of texts with digest "
            f"{commit.text_digest[:12]}, expected the corpus's {corpus.text_digest(shard)[:12]}",
        )
    rows = store.layout.range_of(shard)
    try:
        store.check_shard(teacher, shard)
        stored = store.check_file(store.shard_path(teacher, shard), commit)
    except PipeError as error:
        yield "file", str(error)
        return
    wrong = _unsound(store.storage(teacher), stored)
    if wrong.size:
        yield (
            "values",
            f"{wrong.size} vectors of shard {shard} of {teacher} are not finite unit vectors, the "
            f"first that of row {rows[int(wrong[0])]}",
        )


def _unsound(storage: Storage, stored: Stored) -> npt.NDArray[np.int64]:
    """Places of the rows (n, columns) that are not finite unit vectors, shape (m,)."""
    return np.concatenate(
        [
            first + storage.unsound(stored[first : first + _ROWS_AT_A_TIME])
            for first in range(0, len(stored), _ROWS_AT_A_TIME)
        ]
    )
