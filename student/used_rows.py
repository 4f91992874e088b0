"""Which shards training reads: arithmetic on the order, for checking or fetching them alone."""

from collections.abc import Sequence

import numpy as np

from student.config import TrainingConfig
from student.identity import recorded_identity
from student.order import TrainingOrder
from student.places import Places
from student.row_set import Rows
from student.stage_config import Inputs, StageConfig
from student.stage_rows import fitting_steps, recorded_rows, stage_order, with_ranks
from teacher_cache.layout import ShardLayout


def used_shards(order: TrainingOrder, steps: range, layout: ShardLayout) -> frozenset[int]:
    """The shards that some steps of an order read.

    Whole windows are counted by their blocks, so that the time goes with the blocks and not with
    the rows.

    Args:
        order: The order.
        steps: Consecutive steps, counted from 0 through all epochs.
        layout: Which rows a shard holds.

    Returns:
        Every shard that holds a row of these steps, and no other.
    """
    shards, firsts = order.rows.shard_pieces(layout)
    used = np.zeros(len(shards), dtype=bool)
    for starts, stops in order.drawn(steps.start, steps.stop):
        # A range covers the shards from that of its first position to that of its last one.
        from_ = np.searchsorted(firsts, starts, side="right") - 1
        to = np.searchsorted(firsts, stops - 1, side="right")
        size = len(shards) + 1
        changes = np.bincount(from_, minlength=size) - np.bincount(to, minlength=size)
        used |= np.cumsum(changes)[:-1] > 0
        if used.all():
            break
    return frozenset(shards[used].tolist())


def drawn_rows(order: TrainingOrder, steps: range) -> Rows:
    """The rows that some steps of an order draw.

    Args:
        order: The order.
        steps: Consecutive steps, counted from 0 through all epochs.

    Returns:
        Their numbers, ascending, without repetition, int64; takes a byte a row of the set.
    """
    size = len(order.rows)
    drawn = np.zeros(size, dtype=bool)
    for starts, stops in order.drawn(steps.start, steps.stop):
        changes = np.zeros(size + 1, dtype=np.int8)
        # The ranges are apart, but one may begin where another ends.
        changes[starts] += 1
        changes[stops] -= 1
        drawn |= np.cumsum(changes[:-1], dtype=np.int8) > 0
        if drawn.all():
            break
    return order.rows.take(np.flatnonzero(drawn))


def held_out_shards(layout: ShardLayout, held_out_rows: int) -> frozenset[int]:
    """The shards that hold a held-out row.

    Args:
        layout: Which rows a shard holds.
        held_out_rows: How many of the corpus's first rows are held out.

    Returns:
        Their numbers.
    """
    return frozenset(range(-(-held_out_rows // layout.rows_per_shard)))


def run_shards(
    places: Places,
    stages: Sequence[StageConfig],
    training: TrainingConfig,
    layout: ShardLayout,
    held_out_rows: int,
    inputs: Inputs = "texts",
) -> frozenset[int]:
    """The shards that the stages of a run and its evaluation read, of one kind of inputs.

    Args:
        places: The run's students; a stage that was begun on available shards uses those alone.
        stages: The recipe's stages.
        training: How training runs.
        layout: Which rows a shard holds.
        held_out_rows: How many of the corpus's first rows are held out.
        inputs: Whether the layout is that of the corpus or that of the image-caption pairs.

    Returns:
        Their numbers. A stage that was not begun counts as one on all rows.

    Raises:
        PipeError: A stage's record is broken, or there are fewer rows than a batch takes.
    """
    used = held_out_shards(layout, held_out_rows)
    for number, stage in enumerate(stages, start=1):
        if stage.inputs != inputs:
            continue
        recorded = recorded_identity(places, number)
        rows = recorded_rows(recorded, layout, held_out_rows)
        ranks = (recorded.ranks if recorded else None) or 1
        order = stage_order(with_ranks(stage, training, ranks), training, number, rows)
        steps = max(stage.steps, fitting_steps(stage, order.batch_size, len(order.rows)))
        used |= used_shards(order, range(steps), layout)
        if len(used) == layout.num_shards:
            break
    return used
