"""The held-out rows of an evaluation: their texts, their target, and each teacher's vectors."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from pipelines.report import say
from pipelines.run import Run
from student.held_out import LEAST_SPANS, HeldOutSpans, measured_spans, read_held_out_spans
from student.used_rows import held_out_shards
from teacher_cache.shard_list import format_shards
from teacher_cache.store import TeacherStore
from teacher_cache.taught import require_taught


@dataclass(frozen=True)
class HeldOutRows(HeldOutSpans):
    """Held-out spans, and what each teacher makes of them.

    Attributes:
        teachers: (N, dim) float32 unit rows by the teacher's name; a teacher without a weight is
            left out where the store lacks rows of it.
    """

    teachers: Mapping[str, np.ndarray]


def read_held_out(run: Run) -> HeldOutRows | None:
    """Read an evaluation's held-out rows from the corpus and the store.

    Args:
        run: The run.

    Returns:
        The rows; None where the corpus holds out too few.

    Raises:
        PipeError: The store lacks rows of a teacher in the target, or has those of a teacher with
            other settings, or a text is not the corpus's.
    """
    corpus = Corpus.open(run.corpus)
    count = measured_spans(corpus, run.recipe.evaluation.held_out_spans)
    if not count:
        say(
            f"the corpus holds out fewer than {LEAST_SPANS} rows, so agreement with the target is "
            "not measured"
        )
        return None
    store = TeacherStore.open(run.store, corpus)
    weights = run.recipe.target_weights
    there = []
    for teacher in run.recipe.teachers:
        name = teacher.name
        committed = store.committed(name) if name in store.teachers else frozenset()
        missing = held_out_shards(store.layout, count) - committed
        if not missing:
            there.append(teacher)
        elif name in weights:
            raise PipeError(
                f"the held-out rows 0 to {count - 1} are needed of every teacher in the target, "
                f"and the store lacks shard {format_shards(missing)} of teacher {name}; copy it "
                f"here or run `pipe teach --teacher {name}`, then evaluate."
            )
        else:
            say(f"the store lacks held-out rows of teacher {name}; its agreement is not measured")
    require_taught(store, there)
    spans, rows = read_held_out_spans(corpus, store, weights, count), np.arange(count)
    return HeldOutRows(
        texts=spans.texts,
        roles=spans.roles,
        target_NT=spans.target_NT,
        teachers={each.name: store.read_teacher(each.name, rows) for each in there},
    )
