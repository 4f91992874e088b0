"""Sets of shards as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import PipeError
from teacher_cache.shard_list import format_shards, parse_shards


@given(st.sets(st.integers(0, 60), min_size=1))
def test_the_text_says_the_set_and_nothing_shorter_is_left(shards: set[int]) -> None:
    text = format_shards(shards)
    assert parse_shards(text) == tuple(sorted(shards))
    # A new part begins only behind a gap.
    assert text.count(",") == sum(n + 1 not in shards for n in shards) - 1


@pytest.mark.parametrize(
    "text", ["", "a", "3-", "-3", "3-1", "1,,2", "1-2-3", "1.5", "٣", "0-99999999"]
)
def test_what_is_no_list_of_shards(text: str) -> None:
    with pytest.raises(PipeError, match="expected numbers and ranges"):
        parse_shards(text)
