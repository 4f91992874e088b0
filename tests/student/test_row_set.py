"""Row sets: positions and rows, shards, and one object for one set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import PipeError
from student.row_set import RowSet
from teacher_cache.layout import ShardLayout

layouts = st.builds(ShardLayout, rows=st.integers(1, 200), rows_per_shard=st.integers(1, 40))


@given(layouts, st.data())
def test_positions_are_the_rows_of_the_shards_in_order(layout, data):
    shards = data.draw(st.sets(st.integers(0, layout.num_shards - 1)))
    first = data.draw(st.integers(0, layout.rows))
    some = RowSet.of_shards(layout, shards, first)
    rows = [row for shard in sorted(shards) for row in layout.range_of(shard) if row >= first]
    assert len(some) == len(rows)
    assert some.take(np.arange(len(rows))).tolist() == rows
    held, firsts = some.shard_pieces(layout)
    assert held.tolist() == sorted({row // layout.rows_per_shard for row in rows})
    assert firsts.tolist() == [
        next(place for place, row in enumerate(rows) if row // layout.rows_per_shard == shard)
        for shard in held
    ]


@given(layouts, st.data())
def test_equal_sets_are_equal_however_they_came_about(layout, data):
    first = data.draw(st.integers(0, layout.rows))
    everything = RowSet.of_shards(layout, range(layout.num_shards), first)
    assert everything == RowSet.of_range(first, layout.rows)
    assert hash(everything) == hash(RowSet.of_range(first, layout.rows))


def test_positions_in_any_order_and_shape():
    some = RowSet(((5, 8), (20, 22)))
    assert some.take(np.array([[4, 0], [3, 3]])).tolist() == [[21, 5], [20, 20]]
    for wrong in (-1, 5):
        with pytest.raises(IndexError, match="of 5 rows"):
            some.take(np.array([0, wrong]))


def test_two_ranges_in_one_shard_are_one_piece():
    shards, firsts = RowSet(((0, 3), (5, 9), (11, 12))).shard_pieces(ShardLayout(30, 10))
    assert (shards.tolist(), firsts.tolist()) == ([0, 1], [0, 7])


@pytest.mark.parametrize("ranges", [((3, 3),), ((0, 5), (5, 6)), ((4, 6), (1, 2))])
def test_ranges_that_are_no_set(ranges):
    with pytest.raises(ValueError, match="apart"):
        RowSet(ranges)


def test_a_shard_that_does_not_exist():
    with pytest.raises(PipeError, match="shard 3"):
        RowSet.of_shards(ShardLayout(30, 10), [3])
