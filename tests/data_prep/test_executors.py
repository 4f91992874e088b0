"""Executors: every task once, one worker a place, and errors as they were raised."""

import sys

import pytest

from data_prep.errors import PipeError, UsageError
from data_prep.executors import ANYWHERE, EXECUTORS, Places, load_executor
from data_prep.executors.in_process import InProcess


class Maker:
    """Counts the workers that it makes."""

    def __init__(self):
        self.made = 0

    def __call__(self):
        self.made += 1
        return self.work

    def work(self, task):
        if task == 13:
            raise PipeError("found 13, expected another.")
        return task * task


def test_in_process_is_one_worker_and_in_order():
    maker = Maker()
    assert list(InProcess().run(iter(range(5)), maker)) == [(n, n * n) for n in range(5)]
    assert maker.made == 1


def test_without_a_task_no_worker_is_made():
    maker = Maker()
    assert list(InProcess().run([], maker)) == []
    assert maker.made == 0


def test_an_error_stops_behind_what_was_done():
    done = []
    with pytest.raises(PipeError, match="found 13"):
        done.extend(InProcess().run([1, 13, 2], Maker()))
    results = InProcess().run([1, 13, 2], Maker())
    assert next(results) == (1, 1)
    results.close()


@pytest.mark.parametrize("places", [Places(actors=2), Places(ray_address="auto")])
def test_actors_need_ray(places):
    with pytest.raises(UsageError, match="--executor ray"):
        load_executor("in-process", places, print)
    assert isinstance(load_executor("in-process", ANYWHERE, print), InProcess)


def test_a_missing_ray_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PipeError, match=r"pip install 'jasper-distill\[ray\]'"):
        load_executor("ray", ANYWHERE, print)


@pytest.mark.parametrize(
    "places",
    [Places(actors=0), Places(gpus_per_actor=-1.0), Places(cpus_per_actor=float("nan"))],
)
def test_impossible_places_are_refused(places):
    with pytest.raises(UsageError, match="expected at least"):
        load_executor("ray", places, print)


def test_every_executor_takes_the_same_to_be_made():
    for name in EXECUTORS:
        assert hasattr(load_executor(name, ANYWHERE, print), "run")
