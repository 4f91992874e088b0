"""Rows and shards: arithmetic held together by invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import PipeError
from teacher_cache.layout import ShardLayout

layouts = st.builds(ShardLayout, rows=st.integers(1, 500), rows_per_shard=st.integers(1, 90))


@given(layouts)
def test_shards_cover_every_row_once(layout: ShardLayout) -> None:
    rows = [row for shard in range(layout.num_shards) for row in layout.range_of(shard)]
    assert rows == list(range(layout.rows))
    shards = [shard for shard in range(layout.num_shards) for _ in layout.range_of(shard)]
    assert layout.shard_of(np.arange(layout.rows)).tolist() == shards


@given(layouts, st.data())
def test_grouping_gives_back_every_row_at_its_position(
    layout: ShardLayout, data: st.DataObject
) -> None:
    rows = np.array(data.draw(st.lists(st.integers(0, layout.rows - 1), max_size=60)), np.int64)
    found = np.full(len(rows), -1)
    seen = []
    for shard, places, positions in layout.by_shard(rows):
        seen.append(shard)
        members = np.arange(layout.rows)[layout.range_of(shard).start :][places]
        assert (found[positions] == -1).all()
        found[positions] = members
    assert found.tolist() == rows.tolist()
    assert len(set(seen)) == len(seen)


def test_a_run_of_rows_is_a_slice() -> None:
    layout = ShardLayout(rows=200, rows_per_shard=64)
    assert list(layout.by_shard(np.arange(70, 90))) == [(1, slice(6, 26), slice(0, 20))]
    across = list(layout.by_shard(np.arange(60, 70)))
    assert across == [(0, slice(60, 64), slice(0, 4)), (1, slice(0, 6), slice(4, 10))]


@given(layouts, st.sets(st.integers(0, 500)))
def test_missing_and_done_make_all(layout: ShardLayout, done: set[int]) -> None:
    missing = layout.missing(done)
    assert missing == sorted(set(range(layout.num_shards)) - done)


@pytest.mark.parametrize("row", [-1, 150, 10**12])
def test_a_row_that_does_not_exist_is_named(row: int) -> None:
    with pytest.raises(PipeError, match=f"found row {row}, expected 0 to 149"):
        ShardLayout(rows=150, rows_per_shard=64).shard_of(np.array([3, row]))


@pytest.mark.parametrize("shard", [-1, 3])
def test_a_shard_that_does_not_exist_is_named(shard: int) -> None:
    with pytest.raises(PipeError, match=f"found shard {shard}, expected 0 to 2"):
        ShardLayout(rows=150, rows_per_shard=64).range_of(shard)
