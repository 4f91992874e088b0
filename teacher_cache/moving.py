"""Copying what is missing between stores: pull, push and merge are one thing.

Every shard's file is checked in full against its commit before it is placed; what is committed in
the target stays as it is. After any interruption the same call goes on.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np

from data_prep.errors import PipeError
from teacher_cache.corpus_copy import require_corpus
from teacher_cache.manifest import Commit
from teacher_cache.mapped_shard import MappedShard, map_shard
from teacher_cache.mirror import in_parallel
from teacher_cache.place import Place
from teacher_cache.store import TeacherStore
from teacher_cache.targets import Target, open_target
from teacher_cache.views import View, require_agreement

_SECONDS_BETWEEN_LINES: Final = 5.0
_ROWS_AT_A_TIME: Final = 1024


@dataclass(frozen=True)
class Selection:
    """Which part of the stores is copied.

    Attributes:
        teachers: Names; every teacher if empty.
        shards: Numbers; every shard if None.
        vectors: Whether shards are copied at all, or only what stands beside them.
    """

    teachers: tuple[str, ...] = ()
    shards: frozenset[int] | None = None
    vectors: bool = True


@dataclass(frozen=True)
class Difference:
    """Two stores' different vectors of one shard.

    Attributes:
        teacher: The teacher's name.
        shard: The shard's number.
        kept: The place whose vectors the target has.
        other: The place whose vectors it has not.
        max_abs_difference: The largest difference of two numbers of the unit vectors.
        min_cosine: The smallest similarity of a row's two vectors.
    """

    teacher: str
    shard: int
    kept: str
    other: str
    max_abs_difference: float
    min_cosine: float


@dataclass
class Moved:
    """What a copy has done.

    Attributes:
        copied: Shards that were copied.
        standing: Shards that the target had.
        bytes: Of the copied shards' files.
        seconds: All in all.
        differences: Shards of which two stores have different vectors.
    """

    copied: int = 0
    standing: int = 0
    bytes: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True)
class _Work:
    """A shard: the stores that have it, the target first if it does, and their commits."""

    teacher: str
    shard: int
    offers: list[tuple[View, Commit]]


def copy_stores(
    sources: Sequence[Place],
    target: Place,
    selection: Selection,
    jobs: int,
    report: Callable[[str], None],
    beforehand: Callable[[], None] = lambda: None,
) -> Moved:
    """Copy into one store what it lacks of others.

    Args:
        sources: Where the others lie. Of two different commits of a shard the first named is kept.
        target: The store, local or remote; it is made if need be. What it has counts as named
            first.
        selection: Which part.
        jobs: Shards at a time.
        report: Takes a line now and then.
        beforehand: Called when the stores agree and before anything is copied.

    Returns:
        What was done.

    Raises:
        PipeError: The stores are of different corpora, a teacher's settings differ, a shard is
            damaged, or a server does not answer.
    """
    begun = time.monotonic()
    moved = Moved()
    with tempfile.TemporaryDirectory(prefix="jasper-distill-") as temporary:
        scratch = Path(temporary)
        views = [View.open(place, scratch / f"source-{n}") for n, place in enumerate(sources)]
        teachers = _teachers(views, selection)
        # What can be refused is refused before an empty store is made.
        require_agreement(views, teachers)
        for place in (*sources, target):
            require_corpus(place, views[0].store)
        goal = open_target(target, views[0].store, scratch / "draft")
        require_agreement([goal.view, *views], teachers)
        beforehand()
        for name in teachers:
            goal.add_teacher(name, next(view for view in views if name in view.store.teachers))
        goal.publish(teachers)
        if selection.vectors:
            work = list(_plan(goal.view, views, teachers, selection))
            _Copier(goal, moved, len(work), report).run(work, jobs)
            # A push by another process may have written the manifest in between.
            goal.publish(teachers)
    moved.seconds = time.monotonic() - begun
    moved.differences.sort(key=lambda one: (one.teacher, one.shard, one.other))
    return moved


def _teachers(views: list[View], selection: Selection) -> list[str]:
    known = sorted({name for view in views for name in view.store.teachers})
    unknown = sorted(set(selection.teachers) - set(known))
    if unknown:
        raise PipeError(
            f"found no teacher {unknown[0]!r} in {', '.join(view.name for view in views)}, "
            f"expected one of {', '.join(known) or 'none'}; name one of those."
        )
    return sorted(selection.teachers) or known


def _plan(
    goal: View, views: list[View], teachers: list[str], selection: Selection
) -> "list[_Work]":
    layout = goal.store.layout
    wanted = selection.shards
    if wanted is not None and wanted and max(wanted) >= layout.num_shards:
        layout.range_of(max(wanted))
    work = []
    for teacher in teachers:
        commits = [(view, view.commits(teacher)) for view in (goal, *views)]
        for shard in sorted({shard for _, found in commits for shard in found}):
            if wanted is None or shard in wanted:
                offers = [(view, found[shard]) for view, found in commits if shard in found]
                work.append(_Work(teacher, shard, offers))
    return work


class _Copier:
    """Copies shards and counts them."""

    def __init__(
        self, goal: Target, moved: Moved, total: int, report: Callable[[str], None]
    ) -> None:
        self._goal = goal
        self._moved = moved
        self._total = total
        self._report = report
        self._lock = Lock()
        self._told = time.monotonic()

    def run(self, work: list[_Work], jobs: int) -> None:
        # What stands is counted at once, unless someone has it otherwise.
        standing = [one for one in work if one.offers[0][0] is self._goal.view]
        rest = [one for one in work if one.offers[0][0] is not self._goal.view or _differ(one)]
        self._moved.standing = len(standing)
        if self._total > len(standing):
            self._report(f"{self._total - len(standing)} of {self._total} shards to copy")
        in_parallel(self._one, rest, jobs)

    def _one(self, work: _Work) -> None:
        scratch = self._goal.scratch()
        try:
            (kept, commit), *others = work.offers
            path = kept.fetch(commit, scratch)
            if kept is not self._goal.view:
                record = kept.store.commit_path(work.teacher, work.shard)
                placed = self._goal.put(commit, path, record)
                self._count(path.stat().st_size if placed else None)
            for view, other in others:
                if other.vectors_digest != commit.vectors_digest:
                    elsewhere = scratch / "other"
                    elsewhere.mkdir(exist_ok=True)
                    theirs = view.fetch(other, elsewhere)
                    self._differ(work, kept.name, view.name, (path, commit), (theirs, other))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _count(self, size: int | None) -> None:
        with self._lock:
            if size is None:
                self._moved.standing += 1
            else:
                self._moved.copied += 1
                self._moved.bytes += size
            done = self._moved.copied + self._moved.standing
            if time.monotonic() - self._told > _SECONDS_BETWEEN_LINES:
                self._told = time.monotonic()
                self._report(
                    f"{done} of {self._total} shards, {self._moved.bytes / 1e9:.2f} GB copied"
                )

    def _differ(
        self,
        work: _Work,
        kept: str,
        other: str,
        ours: tuple[Path, Commit],
        theirs: tuple[Path, Commit],
    ) -> None:
        store = self._goal.view.store
        shape = store.shape(work.teacher, work.shard)
        one, two = (map_shard(path, shape, commit.chunks_crc32c) for path, commit in (ours, theirs))
        largest, smallest = how_far(store, work.teacher, one, two)
        found = Difference(work.teacher, work.shard, kept, other, largest, smallest)
        with self._lock:
            self._moved.differences.append(found)
        self._report(
            f"{work.teacher} shard {work.shard}: {kept} and {other} have different vectors (by at "
            f"most {largest:.2g}, least cosine {smallest:.6f}); those of {kept} are kept"
        )


def _differ(work: _Work) -> bool:
    return len({commit.vectors_digest for _, commit in work.offers}) > 1


def how_far(
    store: TeacherStore, teacher: str, one: MappedShard, other: MappedShard
) -> tuple[float, float]:
    """Say how far two versions of a shard's vectors differ, in bounded memory.

    Args:
        store: A store that has the teacher.
        teacher: Its name.
        one: A shard's file.
        other: The same shard's of another store.

    Returns:
        The largest difference of two numbers, and the smallest cosine of two vectors of a row.
    """
    storage, dim = store.storage(teacher), store.entry(teacher).config.dim
    largest, smallest = 0.0, 1.0
    rows = one.shape.rows
    for first in range(0, rows, _ROWS_AT_A_TIME):
        block = slice(first, min(first + _ROWS_AT_A_TIME, rows))
        left, right = (np.empty((block.stop - first, dim), np.float32) for _ in range(2))
        for mapped, vectors in ((one, left), (other, right)):
            storage.unpack(mapped.take(block), 1.0, vectors)
            mapped.release()
        norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        cosines = np.einsum("nd,nd->n", left, right) / norms
        largest = max(largest, float(np.abs(left - right).max()))
        smallest = min(smallest, float(cosines.min()))
    return largest, smallest
