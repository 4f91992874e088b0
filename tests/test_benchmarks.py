"""Every benchmark makes a smoke run and ends with one JSON object."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.distill_gpu import Bench
from benchmarks.distill_gpu_data import TINY
from benchmarks.turns import Turns
from pipelines.recipe import load_recipe
from tests import warm

MODULES = sorted(
    path.stem
    for path in (Path(__file__).parents[1] / "benchmarks").glob("*.py")
    if "def main" in path.read_text()
)

# What a smoke run needs on a machine without a GPU.
FLAGS = {"teach_gpu": ["--tiny"], "distill_gpu": ["--tiny"]}


@pytest.mark.parametrize("name", MODULES)
def test_quick_run(name):
    done = warm.run(f"benchmarks.{name}", "--quick", "--json", *FLAGS.get(name, []))
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["machine"]["torch"]
    assert any("vs_" in name for name in figures)


def test_trainings_take_turns():
    order = []

    def training(name):
        def train(pause):
            while True:
                order.append(name)
                pause()

        return train

    with Turns(training("a")) as first, Turns(training("b")) as second:
        for turns, steps in ((first, 2), (second, 1), (first, 1), (second, 3)):
            turns.run(steps)
    assert "".join(order) == "aababbb"


def test_a_training_that_fails_is_not_waited_for():
    def train(pause):
        pause()
        raise ValueError("here")

    with Turns(train) as turns:
        turns.run(1)
        with pytest.raises(ValueError, match="here"):
            turns.run(1)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_flop_of_a_step_are_those_that_torch_counts(number):
    bench = Bench(TINY, load_recipe("jasper"), 96, "cpu")
    stage = bench.recipe.stages[number - 1]
    student = bench.student(stage, "none")
    ids = torch.ones(3, 24, dtype=torch.int64)
    groups = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}]
    with FlopCounterMode(display=False) as counter:
        vectors = student(groups, stage.heads)
        sum(each.sum() for each in vectors.values()).backward()
    expected = counter.get_total_flops()
    # In stage 2 nothing needs the gradient of the lowest trained layer's input.
    assert bench.flop(stage, np.full(3, 24), student) == pytest.approx(expected, rel=0.1)
    if number != 2:
        assert bench.flop(stage, np.full(3, 24), student) == pytest.approx(expected, rel=0.01)
