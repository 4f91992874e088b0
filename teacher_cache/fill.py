"""Filling the store: every missing shard of a teacher, each encoded once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_prep.errors import PipeError
from teacher_cache.canary import check_canary
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import Encoder
from teacher_cache.store import TeacherStore

if TYPE_CHECKING:
    from data_prep.corpus import Corpus


@dataclass(frozen=True, slots=True)
class FillSummary:
    """What a filling did.

    Attributes:
        teacher: The teacher's name.
        shards_written: Shards that this process has encoded.
        rows_written: Rows of those.
        shards_standing: Shards that were committed already, or by another worker meanwhile.
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
    """Encode a teacher's missing shards in order; after any interruption, the same call goes on.

    Args:
        store: Where the vectors go; the teacher is added if need be.
        corpus: Where the texts are.
        teacher: The teacher's settings.
        encoder: The teacher itself.
        report: Takes one line per shard.

    Returns:
        What was done.

    Raises:
        PipeError: The store is another corpus's, the teacher's settings have changed, the canary's
            vectors are not what they should be, the texts are not those of the corpus's manifest,
            or a vector is unsound.
    """
    store.check_corpus(corpus)
    if encoder.dim != teacher.dim:
        raise PipeError(
            f"found vectors of {encoder.dim} numbers from {teacher.name}, expected {teacher.dim}; "
            "mend the teacher's `dim`."
        )
    store.add_teacher(teacher)
    store.sweep_scratch()
    shards = store.missing(teacher.name)
    if shards:
        check_canary(store.directory, teacher, encoder)
    total = sum(len(corpus.shard_range(shard)) for shard in shards)
    report(
        f"{teacher.name} ({teacher.license}): {len(shards)} of {store.layout.num_shards} shards to "
        f"encode, {total} rows"
    )
    begun = time.monotonic()
    passed = rows_written = shards_written = 0
    for shard in shards:
        rows = len(corpus.shard_range(shard))
        passed += rows
        if store.commit(teacher.name, shard) is not None:
            report(f"{teacher.name}: another worker has done shard {shard}")
            continue
        corpus.check_shard(shard)
        texts, roles = corpus.texts(shard)
        vectors = encoder.encode(texts, roles)
        store.write_shard(teacher.name, shard, vectors, corpus.text_digest(shard))
        shards_written += 1
        rows_written += rows
        rate = rows_written / (time.monotonic() - begun)
        report(
            f"{teacher.name}: shard {shard} committed, {passed} of {total} rows, {rate:.0f} rows/s,"
            f" {_duration((total - passed) / rate)} left"
        )
    return FillSummary(
        teacher=teacher.name,
        shards_written=shards_written,
        rows_written=rows_written,
        shards_standing=store.layout.num_shards - shards_written,
        seconds=time.monotonic() - begun,
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
