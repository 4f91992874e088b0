"""Token batches: every text once, within the budget, longest first."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from teacher_cache.batching import token_batches


@given(st.lists(st.integers(0, 300), max_size=80), st.integers(1, 600))
def test_every_text_once_and_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = token_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    ordered = [lengths[i] for batch in batches for i in batch]
    assert ordered == sorted(lengths, reverse=True)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.integers(1, 200))
def test_no_batch_could_take_the_next_text(lengths: list[int], budget: int) -> None:
    batches = token_batches(np.array(lengths), budget)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * lengths[batch[0]] > budget
