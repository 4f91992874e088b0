"""The training order by its invariants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.errors import PipeError
from student.order import TrainingOrder
from student.row_set import RowSet
from teacher_cache.layout import ShardLayout


def order(rows=1000, first=7, batch=32, seed=(0, 1), block=16, window=4):
    return TrainingOrder(RowSet.of_range(first, first + rows), batch, seed, block, window)


def batch_before_row_sets(rows, first, batch, seed, block, window, step):
    """A step's rows by the formula of version 0.1.0, which stages in progress were begun with."""
    epoch, step_in_epoch = divmod(step, rows // batch)
    count = -(-rows // block)
    blocks = np.random.default_rng((1, *seed, epoch)).permutation(count)
    drawn = []
    for number, begin in enumerate(range(0, count, window)):
        some = (blocks[begin : begin + window, None] * block + np.arange(block)).reshape(-1)
        some = some[some < rows] + first
        drawn.append(np.random.default_rng((2, *seed, epoch, number)).permutation(some))
    return np.concatenate(drawn)[step_in_epoch * batch : (step_in_epoch + 1) * batch]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(8, 400),
    first=st.integers(0, 50),
    batch=st.integers(1, 8),
    block=st.integers(1, 33),
    window=st.integers(1, 9),
    epoch=st.integers(0, 3),
)
def test_an_epoch_draws_every_row_at_most_once_and_nearly_all(
    rows, first, batch, block, window, epoch
):
    drawn = order(rows, first, batch, (3,), block, window)
    steps = drawn.steps_per_epoch
    seen = np.concatenate([drawn.batch(epoch * steps + step) for step in range(steps)])
    assert len(seen) == len(set(seen.tolist())) == steps * batch
    assert rows - len(seen) < batch
    assert seen.min() >= first
    assert seen.max() < first + rows


def test_a_step_depends_on_nothing_but_seed_epoch_and_step():
    drawn = order()
    in_order = [drawn.batch(step) for step in range(80)]
    for step in (79, 3, 40, 0):
        assert np.array_equal(order().batch(step), in_order[step])
    assert np.array_equal(list(drawn.batches(10, 13)), in_order[10:13])


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(8, 400),
    first=st.integers(0, 50),
    batch=st.integers(1, 8),
    block=st.integers(1, 33),
    window=st.integers(1, 9),
    shard=st.integers(1, 64),
    step=st.integers(0, 200),
)
def test_with_every_shard_there_the_order_is_what_it_was_before_row_sets(
    rows, first, batch, block, window, shard, step
):
    layout = ShardLayout(first + rows, shard)
    everything = RowSet.of_shards(layout, range(layout.num_shards), first)
    found = TrainingOrder(everything, batch, (3, 1), block, window).batch(step)
    expected = batch_before_row_sets(rows, first, batch, (3, 1), block, window, step)
    assert np.array_equal(found, expected)
    assert found.dtype == np.int64


def test_the_first_rows_of_a_known_order():
    drawn = TrainingOrder(RowSet.of_range(10, 90), 6, (0, 1), 8, 4)
    assert drawn.batch(0).tolist() == [78, 54, 81, 60, 30, 59]
    assert drawn.batch(15).tolist() == [17, 11, 15, 62, 45, 32]


@settings(max_examples=60, deadline=None)
@given(
    shards=st.sets(st.integers(0, 11), min_size=2),
    first=st.integers(0, 30),
    block=st.integers(1, 33),
    window=st.integers(1, 5),
    data=st.data(),
)
def test_the_order_permutes_positions_and_draws_no_other_row(shards, first, block, window, data):
    some = RowSet.of_shards(ShardLayout(230, 20), shards, first)
    batch = data.draw(st.integers(1, len(some)))
    drawn = TrainingOrder(some, batch, (5,), block, window)
    plain = TrainingOrder(RowSet.of_range(0, len(some)), batch, (5,), block, window)
    rows = [row for row in range(first, 230) if row // 20 in shards]
    for step in (0, 1, drawn.steps_per_epoch):
        assert drawn.batch(step).tolist() == [rows[place] for place in plain.batch(step)]


def test_epochs_seeds_and_stages_differ():
    drawn = order()
    steps = drawn.steps_per_epoch
    assert not np.array_equal(drawn.batch(0), drawn.batch(steps))
    assert not np.array_equal(drawn.batch(0), order(seed=(0, 2)).batch(0))
    assert not np.array_equal(drawn.batch(0), order(seed=(1, 1)).batch(0))


def test_a_batch_reads_few_blocks():
    drawn = order(rows=100_000, first=0, batch=128, block=64, window=16)
    for step in (0, 100, 700):
        blocks = {row // 64 for row in drawn.batch(step).tolist()}
        assert len(blocks) <= 2 * 16


def test_too_few_rows_for_a_batch_is_a_sentence():
    with pytest.raises(PipeError, match=r"5 training rows.*batch takes 8.*--rows available"):
        order(rows=5, batch=8)
