"""The step clock: shares that add up, and nothing left over between two lines."""

import time

import pytest
import torch

from student.timing import PARTS, StepClock


@pytest.fixture
def now(monkeypatch):
    """A clock that only moves when it is told to."""
    state = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: state[0])

    def wait(seconds):
        state[0] += seconds

    return wait


def test_shares_of_the_step_and_rates(now):
    clock = StepClock(torch.device("cpu"))
    for _ in range(3):
        for seconds, name in enumerate(PARTS, start=1):
            with clock.part(name):
                now(seconds)
        now(5)  # what no part claims
        clock.count(texts=8, tokens=100)
    figures = clock.take()
    for seconds, name in enumerate(PARTS, start=1):
        assert figures.pop(f"time/{name}") == pytest.approx(seconds / 20)
    rates = {
        "steps_per_second": 3 / 60,
        "texts_per_second": 24 / 60,
        "tokens_per_second": 300 / 60,
    }
    assert figures == pytest.approx(rates)
    assert clock.take() == {}


def test_what_lies_outside_counts_nowhere(now):
    clock = StepClock(torch.device("cpu"))
    with clock.part("forward"):
        now(1)
    with clock.outside():
        now(50)
    clock.count(texts=4, tokens=0)
    assert clock.take() == {
        "time/forward": 1.0,
        "steps_per_second": 1.0,
        "texts_per_second": 4.0,
        "tokens_per_second": 0.0,
    }


def test_a_part_may_begin_in_one_place_and_end_in_another(now):
    clock = StepClock(torch.device("cpu"))
    clock.stop("optimizer")  # the first step has no step before it
    clock.start("optimizer")
    now(1)
    clock.stop("optimizer")
    now(1)
    assert clock.take()["time/optimizer"] == pytest.approx(0.5)
