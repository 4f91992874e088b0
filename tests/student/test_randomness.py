"""A step's random numbers: those of torch.manual_seed, without its price."""

import traceback

import pytest
import torch

from student.randomness import seed_step


@pytest.mark.parametrize("seed", [0, 7, 2**63 + 1, 2**64 - 1])
def test_the_same_numbers_as_manual_seed(seed):
    torch.manual_seed(seed)
    expected = torch.rand(5)
    seed_step(seed, torch.device("cpu"))
    assert torch.equal(torch.rand(5), expected)


def test_nothing_is_prepared_for_devices_that_take_no_part(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(traceback, "format_stack", refuse)
    seed_step(1, torch.device("cpu"))
