"""The shards that training reads: the same as by going through every step."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from student.config import LossConfig, StudentConfig, TrainingConfig
from student.identity import AvailableShards, StageIdentity
from student.order import TrainingOrder
from student.places import Places
from student.row_set import RowSet
from student.stage_config import StageConfig
from student.stage_rows import stage_order
from student.used_rows import held_out_shards, run_shards, used_shards
from teacher_cache.layout import ShardLayout


@settings(max_examples=150, deadline=None)
@given(
    shards=st.sets(st.integers(0, 11), min_size=2),
    size=st.integers(1, 40),
    first=st.integers(0, 30),
    block=st.integers(1, 50),
    window=st.integers(1, 5),
    start=st.integers(0, 60),
    count=st.integers(0, 60),
    data=st.data(),
)
def test_it_is_what_the_steps_draw(shards, size, first, block, window, start, count, data):
    layout = ShardLayout(12 * size, size)
    rows = RowSet.of_shards(layout, shards, min(first, size))
    batch = data.draw(st.integers(1, len(rows)))
    order = TrainingOrder(rows, batch, (2,), block, window)
    steps = range(start, start + count)
    drawn = {int(shard) for step in steps for shard in layout.shard_of(order.batch(step))}
    assert used_shards(order, steps, layout) == drawn


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, 70), count=st.integers(0, 70))
def test_the_ranges_of_some_steps_are_their_positions(start, count):
    order = TrainingOrder(RowSet.of_range(0, 300), 9, (2,), 7, 3)
    drawn = sorted(row for step in range(start, start + count) for row in order.batch(step))
    ranges = order.drawn(start, start + count)
    assert drawn == sorted(
        place
        for starts, stops in ranges
        for first, stop in zip(starts, stops, strict=True)
        for place in range(first, stop)
    )


def test_an_epoch_of_the_papers_corpus_is_every_shard_of_the_set():
    layout = ShardLayout(8_000_000, 10_000)
    order = TrainingOrder(RowSet.of_shards(layout, range(3, 700), 0), 128, (0, 1))
    every = range(order.steps_per_epoch)
    assert used_shards(order, every, layout) == frozenset(range(3, 700))
    window = order.block_rows * order.window_blocks // order.batch_size
    one_window = used_shards(order, range(window), layout)
    assert len(one_window) <= 2 * order.window_blocks
    rows = np.concatenate(list(order.batches(0, window)))
    assert one_window == frozenset(layout.shard_of(rows).tolist())


def test_held_out_shards():
    layout = ShardLayout(95, 10)
    assert held_out_shards(layout, 0) == frozenset()
    assert held_out_shards(layout, 10) == {0}
    assert held_out_shards(layout, 11) == {0, 1}


def test_a_run_reads_what_each_stage_draws_and_what_is_held_out(tmp_path):
    layout, training, places = ShardLayout(2000, 10), TrainingConfig(), Places(tmp_path)
    fitted = {"init": "least_squares", "init_rows": 20}
    stages = [
        StageConfig.model_validate(
            {"name": "s", "trainable": ["text.*"], "heads": {"h": ["cosine"]}, "learning_rate": 1}
            | {"batch_size": 4, "steps": 2} | more
        )
        for more in ({}, fitted)
    ]  # fmt: skip
    everything = RowSet.of_range(15, 2000)
    one = used_shards(stage_order(stages[0], training, 1, everything), range(2), layout)
    two = used_shards(stage_order(stages[1], training, 2, everything), range(5), layout)
    found = run_shards(places, stages, training, layout, 15)
    assert found == {0, 1} | one | two

    record = StageIdentity(
        student=StudentConfig(start="x", max_tokens=8, heads={"h": 2}, default_head="h"),
        losses=LossConfig(cosine=1, similarity=1, relative_similarity=1, margin=0),
        stages=tuple(stages[:1]),
        training=training,
        teachers=(),
        corpus="c",
        shards=AvailableShards.of({1, 150}),
    )
    places.identity(1).parent.mkdir()
    places.identity(1).write_text(record.model_dump_json())
    begun_on = RowSet.of_shards(layout, [1, 150], 15)
    one = used_shards(stage_order(stages[0], training, 1, begun_on), range(2), layout)
    assert run_shards(places, stages, training, layout, 15) == {0, 1} | one | two
