"""Counting in a permutation against counting one by one."""

import pytest
import torch

from student import counting
from student.counting import count_smaller


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 63, 64, 65, 200, 513])
@pytest.mark.parametrize("digit_bits", [1, 3, 5])
def test_every_count_is_that_of_a_loop(size, digit_bits, monkeypatch):
    monkeypatch.setattr(counting, "_DIGIT_BITS", digit_bits)
    generator = torch.Generator().manual_seed(size)
    order_P = torch.randperm(size, generator=generator)
    length_Q = torch.randint(0, size + 1, (50,), generator=generator)
    bound_Q = torch.randint(0, size + 1, (50,), generator=generator)
    length_Q[:2], bound_Q[0], bound_Q[1] = size, size, 0
    expected = [
        int((order_P[:length] < bound).sum())
        for length, bound in zip(length_Q, bound_Q, strict=True)
    ]
    assert count_smaller(order_P, length_Q, bound_Q).tolist() == expected


def test_indices_beyond_32_bits_are_counted_in_64(monkeypatch):
    monkeypatch.setattr(counting.torch, "int32", torch.int8)
    order_P = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    length_Q, bound_Q = torch.tensor([120, 60]), torch.tensor([120, 120])
    assert count_smaller(order_P, length_Q, bound_Q).tolist() == [120, 60]
