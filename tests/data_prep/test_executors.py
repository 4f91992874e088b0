"""Executors: every task once, one worker a place, and errors as they were raised."""

import sys
import threading

import pytest

from data_prep.errors import PipeError, UsageError
from data_prep.executors import ANYWHERE, EXECUTORS, Begun, Places, load_executor
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
        return Begun(lambda: task * task)


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


class Overlapping:
    """Rests that end only when the next task has been begun, noting what happens."""

    def __init__(self, tasks, failing=()):
        self.begun = {task: threading.Event() for task in tasks}
        self.failing = failing
        self.log = []

    def __call__(self, task):
        self.begun[task].set()
        self.log.append(("begun", task))

        def finish():
            if task + 1 in self.begun:
                assert self.begun[task + 1].wait(60)
            self.log.append(("finished", task))
            if task in self.failing:
                raise PipeError(f"found {task}, expected another.")
            return -task

        return Begun(finish, lambda: self.log.append(("dropped", task)))


def test_a_rest_is_done_while_the_next_task_is_begun_and_never_two():
    worker = Overlapping(range(5))
    assert list(InProcess().run(range(5), lambda: worker)) == [(n, -n) for n in range(5)]
    for task in range(5):
        before = worker.log[: worker.log.index(("finished", task))]
        # A task's rest waits for the one before it, and two tasks at most are in memory.
        assert [n for what, n in before if what == "finished"] == list(range(task))
        assert [n for what, n in before if what == "begun"] == list(range(min(task + 2, 5)))


def test_a_rest_that_fails_ends_it_before_the_next_one():
    worker = Overlapping(range(5), failing=[1])
    done = []
    with pytest.raises(PipeError, match="found 1, expected"):
        done.extend(InProcess().run(range(5), lambda: worker))
    assert done == [(0, 0)]
    assert ("finished", 2) not in worker.log
    assert worker.log[-1] == ("dropped", 2)


@pytest.mark.parametrize("error", [PipeError, KeyboardInterrupt])
def test_a_rest_that_was_begun_is_finished_whatever_happens(error):
    worker = Overlapping(range(2))

    def work(task):
        begun = worker(task)
        if task == 1:
            raise error
        return begun

    with pytest.raises(error):
        list(InProcess().run(range(2), lambda: work))
    assert ("finished", 0) in worker.log


def test_closing_leaves_no_rest_under_way():
    worker = Overlapping(range(3))
    results = InProcess().run(range(3), lambda: worker)
    assert next(results) == (0, 0)
    worker.begun[2].set()
    results.close()
    assert worker.log[-1] == ("finished", 1)


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
