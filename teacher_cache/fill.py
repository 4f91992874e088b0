"""Filling the store: every missing shard of a teacher, each encoded once."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_prep.executors import Executor
from data_prep.executors.in_process import InProcess
from data_prep.quantities import duration, size
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import Encoder
from teacher_cache.running import new_session, sweep
from teacher_cache.shard_worker import ShardWorkerMaker
from teacher_cache.sizes import row_bytes
from teacher_cache.store import TeacherStore
from teacher_cache.workers import ALONE, Worker

if TYPE_CHECKING:
    from data_prep.corpus import Corpus


@dataclass(frozen=True, slots=True)
class FillSummary:
    """What a filling did.

    Attributes:
        teacher: The teacher's name.
        shards_written: Shards that this call has encoded and heard of.
        rows_written: Rows of those.
        shards_standing: Shards of the worker's share that were committed already, or meanwhile by
            another worker, or by an actor that was lost before it could say so.
        seconds: Time that it took.
    """

    teacher: str
    shards_written: int
    rows_written: int
    shards_standing: int
    seconds: float


def fill(
    store: TeacherStore,
    corpus: "Corpus",
    teacher: TeacherConfig,
    encoder: Encoder,
    report: Callable[[str], None],
) -> FillSummary:
    """Encode all of a teacher's missing shards here, with a teacher that is loaded.

    Args:
        store: Where the vectors go; the teacher is added if need be.
        corpus: Where the texts are.
        teacher: The teacher's settings.
        encoder: The teacher itself.
        report: Takes one line per shard.

    Returns:
        What was done.

    Raises:
        PipeError: As for ``fill_share``.
    """
    return fill_share(store, corpus, teacher, lambda: encoder, report)


def fill_share(
    store: TeacherStore,
    corpus: "Corpus",
    teacher: TeacherConfig,
    load: Callable[[], Encoder],
    report: Callable[[str], None],
    worker: Worker = ALONE,
    executor: Executor | None = None,
    engine: str | None = None,
) -> FillSummary:
    """Encode what is missing of a worker's share; after any interruption, the same call goes on.

    Args:
        store: Where the vectors go; the teacher is added if need be.
        corpus: Where the texts are.
        teacher: The teacher's settings.
        load: Loads the teacher where the executor runs it; not called when nothing is missing.
        report: Takes one line per shard.
        worker: Which of several this is; the only one by default.
        executor: Who encodes; this process by default.
        engine: What runs the teacher, for the commits; None if that is not known.

    Returns:
        What was done.

    Raises:
        PipeError: The store is another corpus's, the teacher's settings have changed, the teacher
            cannot be loaded, the canary's vectors are not what they should be, the texts are not
            those of the corpus's manifest, or a vector is unsound.
    """
    begun = time.monotonic()
    store.check_corpus(corpus)
    standing: frozenset[int] = frozenset()
    if teacher.name in store.teachers:
        store.add_teacher(teacher)  # refuses changed settings before a model is loaded
        standing = store.committed(teacher.name)
    store.sweep_scratch()
    session = new_session()
    sweep(store.directory, teacher.name, session)
    share = worker.share(range(store.layout.num_shards))
    shards = [shard for shard in share if shard not in standing]
    total = sum(len(corpus.shard_range(shard)) for shard in shards)
    report(_plan(teacher, worker, len(shards), len(share), total, row_bytes(teacher, store)))
    pace = _Pace()
    shards_written = passed = 0
    maker = ShardWorkerMaker(store, corpus, teacher, load, session, engine)
    if not shards and standing and not store.roster.has_head(store.entry(teacher.name)):
        report(f"{teacher.name}: its last layer was set aside and is written again")
        maker()
    try:
        with closing((executor or InProcess()).run(shards, maker)) as results:
            for shard, done in results:
                passed += len(corpus.shard_range(shard))
                if not done.rows:
                    report(
                        f"{teacher.name}: shard {shard} is committed already, by another worker or "
                        "by an actor that was lost"
                    )
                    continue
                shards_written += 1
                rate = pace.after(done.rows, done.seconds)
                report(
                    f"{teacher.name}: shard {shard} committed, {passed} of {total} rows, "
                    f"{rate:.0f} rows/s, {duration((total - passed) / rate)} left"
                )
    finally:
        # Actors that were killed could not remove their marks.
        sweep(store.directory, teacher.name, session)
    if shards:
        store.entry(teacher.name)  # an actor may have entered it, which this object has yet to read
    if worker.of > 1 and teacher.name in store.teachers:
        left = len(store.missing(teacher.name))
        report(f"{teacher.name}: worker {worker} is done; {left} shards of others are missing")
    return FillSummary(
        teacher=teacher.name,
        shards_written=shards_written,
        rows_written=pace.rows,
        shards_standing=len(share) - shards_written,
        seconds=time.monotonic() - begun,
    )


class _Pace:
    """Rows per second since the first shard was begun, which is after the models were loaded."""

    def __init__(self) -> None:
        self.rows = 0
        self._begun = float("inf")

    def after(self, rows: int, seconds: float) -> float:
        """Count a shard that has just been done in so many seconds."""
        now = time.monotonic()
        self._begun = min(self._begun, now - seconds)
        self.rows += rows
        return self.rows / max(now - self._begun, 1e-9)


def _plan(
    teacher: TeacherConfig,
    worker: Worker,
    left: int,
    share: int,
    rows: int,
    width: int | None,
) -> str:
    who = f"{teacher.name} ({teacher.license})"
    if worker.of > 1:
        who += f", worker {worker}"
    if not share:
        return f"{who}: there are fewer shards than workers, and none is left for this one"
    if not left:
        return f"{who}: every shard is committed"
    to_write = "" if width is None else f", {size(rows * width)} to write"
    return f"{who}: {left} of {share} shards to encode, {rows} rows{to_write}"
