"""How far a store is: what is done, running, missing and bad, and how long the rest takes.

Everything is read from the store's files, so that any machine that sees them can say it, whoever
does the work.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Self

from data_prep.errors import PipeError
from teacher_cache.layout import ShardLayout
from teacher_cache.manifest import Commit
from teacher_cache.running import running, workers
from teacher_cache.store import TeacherStore

_TIMED_SHARDS = 64
_TIMED_ROUNDS = 10
"""The pace is that of so many commits, and of so many times what one shard takes, at least: workers
that were started together also commit together."""


@dataclass(frozen=True, slots=True)
class TeacherProgress:
    """How far one teacher is; ``done + running + missing + bad == shards``.

    Attributes:
        teacher: The teacher's name.
        shards: Shards in all.
        done: Shards that are committed and pass the cheap checks.
        running: Shards that a live worker has marked.
        missing: Shards that nobody has begun, or whose worker is gone.
        bad: Shards that are committed but damaged.
        rows_left: Rows of the shards that are not done.
        rows_per_second: Of all workers together, over the latest commits; None if they cannot tell.
        seconds_left: For ``rows_left`` at that pace; None if that cannot be told.
        running_on: How many shards each machine is at work on, as far as its marks can be seen.
        written_by: How many of the done shards each machine wrote, wherever that was.
        encoding_seconds: What encoding the done shards took, over all workers.
    """

    teacher: str
    shards: int
    done: int
    running: int
    missing: int
    bad: int
    rows_left: int
    rows_per_second: float | None
    seconds_left: float | None
    running_on: Mapping[str, int] = field(default_factory=dict)
    written_by: Mapping[str, int] = field(default_factory=dict)
    encoding_seconds: float = 0.0

    @classmethod
    def untouched(cls, teacher: str, layout: ShardLayout) -> Self:
        """Say how far a teacher is that the store does not have.

        Args:
            teacher: Its name.
            layout: The shards.

        Returns:
            That everything is missing.
        """
        shards = layout.num_shards
        return cls(
            teacher=teacher,
            shards=shards,
            done=0,
            running=0,
            missing=shards,
            bad=0,
            rows_left=layout.rows,
            rows_per_second=None,
            seconds_left=None,
        )


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """When a shard was committed.

    Attributes:
        ended: Seconds since the epoch.
        seconds: How long its encoding had taken; 0 if nobody knows.
        rows: Its rows.
    """

    ended: float
    seconds: float
    rows: int


def teacher_progress(store: TeacherStore, teacher: str) -> TeacherProgress:
    """Look at a teacher's shards; no vector is read.

    Args:
        store: The store, opened with ``check_commits=False``, so that a bad commit is counted
            instead of stopping the count.
        teacher: The teacher's name.

    Returns:
        How far it is.
    """
    layout = store.layout
    if teacher not in store.teachers:
        return TeacherProgress.untouched(teacher, layout)
    committed = store.committed(teacher).intersection(range(layout.num_shards))
    commits = {shard: _sound_commit(store, teacher, shard) for shard in committed}
    sound = {shard: commit for shard, commit in commits.items() if commit is not None}
    try:
        store.roster.check_array(store.entry(teacher))
    except PipeError:
        sound = {}  # the files may be whole, but nobody could read them as an array
    under_way = running(store.directory, teacher).intersection(layout.missing(committed))
    pace = rows_per_second(_stamp(commit) for commit in sound.values())
    rows_left = sum(len(layout.range_of(shard)) for shard in layout.missing(sound))
    seconds_left = rows_left / pace if pace else None
    return TeacherProgress(
        teacher=teacher,
        shards=layout.num_shards,
        done=len(sound),
        running=len(under_way),
        missing=layout.num_shards - len(committed) - len(under_way),
        bad=len(committed) - len(sound),
        rows_left=rows_left,
        rows_per_second=pace,
        seconds_left=seconds_left if rows_left else 0.0,
        running_on=workers(store.directory, teacher) if under_way else {},
        written_by=dict(sorted(Counter(c.written_by.host for c in sound.values()).items())),
        encoding_seconds=math.fsum(commit.seconds or 0.0 for commit in sound.values()),
    )


def rows_per_second(stamps: Iterable[Stamp]) -> float | None:
    """Tell the pace of all workers together from when shards were committed.

    Only the last session counts: a pause is a time in which nobody encoded, longer than a shard
    takes and than ten usual gaps between commits. Within it, the latest commits count. The work of
    the first of them lies before the time that is measured, unless it is the session's first too.

    Args:
        stamps: Commits in any order.

    Returns:
        Rows per second; None if there are too few commits, or none of them at another time.

    >>> minutes = [Stamp(60.0 * minute, 0.0, 64) for minute in range(5)]
    >>> rows_per_second([*minutes, Stamp(86_400.0, 0.0, 64), Stamp(86_432.0, 0.0, 64)])
    2.0
    """
    ordered = sorted(stamps)
    if not ordered:
        return None
    session = _last_session(ordered)
    usual = statistics.median(stamp.seconds for stamp in session)
    since = min(session[-_TIMED_SHARDS:][0].ended, session[-1].ended - _TIMED_ROUNDS * usual)
    latest = [stamp for stamp in session if stamp.ended >= since]
    if usual and len(latest) == len(session):
        begun = min(stamp.ended - stamp.seconds for stamp in latest)
        rows = sum(stamp.rows for stamp in latest)
    else:
        begun = latest[0].ended
        rows = sum(stamp.rows for stamp in latest[1:])
    span = latest[-1].ended - begun
    return rows / span if span > 0 and rows else None


def _last_session(ordered: Sequence[Stamp]) -> Sequence[Stamp]:
    """The commits after the last pause."""
    gaps = [later.ended - earlier.ended for earlier, later in pairwise(ordered)]
    usual_gap = statistics.median(gaps) if gaps else 0.0
    pause = max(10 * usual_gap, statistics.median(stamp.seconds for stamp in ordered))
    begun = float("inf")
    for place in range(len(ordered) - 1, 0, -1):
        begun = min(begun, ordered[place].ended - ordered[place].seconds)
        if 0 < pause < begun - ordered[place - 1].ended:
            return ordered[place:]
    return ordered


def _stamp(commit: Commit) -> Stamp:
    ended = datetime.fromisoformat(commit.created).timestamp()
    return Stamp(ended, commit.seconds or 0.0, commit.num_rows)


def _sound_commit(store: TeacherStore, teacher: str, shard: int) -> Commit | None:
    """A shard's commit, if what can be checked without reading its vectors agrees with it."""
    try:
        commit = store.commit(teacher, shard)
        store.check_shard(teacher, shard)
        if commit is not None:
            datetime.fromisoformat(commit.created)
    except (PipeError, ValueError):
        return None
    return commit
