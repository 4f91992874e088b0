"""The training order by its invariants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.errors import PipeError
from student.order import TrainingOrder


def order(rows=1000, first=7, batch=32, seed=(0, 1), block=16, window=4):
    return TrainingOrder(first, first + rows, batch, seed, block, window)


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
    with pytest.raises(PipeError, match=r"5 training rows.*batch takes 8"):
        order(rows=5, batch=8)
