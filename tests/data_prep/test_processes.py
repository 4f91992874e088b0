"""Several processes: every task once, the same corpus as from one, and nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from data_prep.errors import PipeError
from data_prep.executors.processes import Processes
from data_prep.prepare import prepare
from tests.data_prep.helpers import corpus_config, file_bytes, silent
from tests.data_prep.squares import Squares
from tests.data_prep.test_out_of_core import MIXED, odd_sources
from tests.data_prep.units import PATIENCE, Units, arrived, wait_until

ROOT = Path(__file__).parents[2]


def test_every_task_once_in_several_processes():
    results = dict(Processes(3, patience=0).run(iter(range(150)), Squares()))
    assert {task: square for task, (square, _) in results.items()} == {n: n * n for n in range(150)}
    processes = {process for _, process in results.values()}
    assert 1 < len(processes) <= 3
    assert os.getpid() not in processes


def test_this_process_works_until_the_others_have_started():
    processes, until = set(), time.monotonic() + PATIENCE

    def tasks():
        for task in count():
            if processes - {os.getpid()} or time.monotonic() > until:
                return
            yield task

    results = {}
    for task, (square, process) in Processes(2, patience=0.01).run(tasks(), Squares()):
        results[task] = square
        processes.add(process)
    assert results == {n: n * n for n in range(len(results))}
    assert os.getpid() in processes
    assert len(processes) > 1


@pytest.mark.parametrize("tasks", [[], [3], range(5)])
def test_little_work_is_done_here(tasks):
    results = dict(Processes(4).run(tasks, Squares()))
    assert results == {n: (n * n, os.getpid()) for n in tasks}


@pytest.mark.parametrize(
    ("task", "message"), [(-13, "found -13, expected"), (-14, "ended in the middle")]
)
def test_what_goes_wrong_there_is_told_here(task, message):
    with pytest.raises(PipeError, match=message):
        list(Processes(2, patience=0).run([1, 2, task, 3], Squares()))


def test_a_worker_that_cannot_be_made():
    with pytest.raises(PipeError, match="found no model"):
        list(Processes(2, patience=0).run([1, 2], Squares(refuse=True)))


def test_closing_ends_the_processes_at_once():
    results = Processes(2, patience=0).run(range(10_000), Squares())
    _, (_, process) = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_an_error_loses_nothing_that_was_read(tmp_path):
    units = Units(tmp_path, failing=3)
    with pytest.raises(PipeError, match="found 3"):
        list(Processes(2, patience=0).run(range(10), units))
    assert units.in_place() == units.recorded() == {0, 1, 2}
    assert not units.unfinished()


def test_a_rest_that_fails_leaves_nothing_and_the_others_are_finished(tmp_path):
    units = Units(tmp_path, broken=0, held=4)
    with pytest.raises(OSError, match=r"'[^']*/000000-0000\.arrow'") as caught:
        list(Processes(2, patience=0).run(range(4), units))
    assert ".tmp" not in str(caught.value)
    assert units.in_place() == units.recorded() == {1, 2, 3}
    assert not units.unfinished()


def test_closing_finishes_what_came_back(tmp_path):
    units, given = Units(tmp_path), set()

    def tasks():
        for task in range(100):
            given.add(task)
            yield task

    results = Processes(2, patience=0).run(tasks(), units)
    next(results)
    wait_until(lambda: {(tmp_path, task) for task in given} <= arrived)
    results.close()
    assert units.in_place() == units.recorded() == given != set(range(100))
    assert not units.unfinished()


def test_no_more_is_read_than_the_disk_keeps_up_with(tmp_path):
    workers, units, ended, most = 2, Units(tmp_path, rest_seconds=0.02), [], 0

    def tasks():
        nonlocal most
        for task in range(24):
            most = max(most, task + 1 - len(ended))
            yield task

    for task, _ in Processes(workers, patience=0).run(tasks(), units):
        ended.append(task)
    assert sorted(ended) == list(range(24))
    # As many rests as are let be but for one, and the tasks that were under way.
    assert workers < most < 3 * workers


def test_processes_stay_for_the_next_run_and_go_with_their_object():
    executor = Processes(2, patience=0)
    first, second = (
        {process for _, (_, process) in executor.run(range(20), Squares())} for _ in range(2)
    )
    assert first & second
    assert len(first | second) <= 2
    del executor
    assert all_end(first | second)


def test_processes_end_with_the_one_that_started_them():
    program = (
        "import sys; from data_prep.executors.processes import Processes\n"
        "from tests.data_prep.squares import Squares\n"
        "for _, (_, pid) in Processes(2, patience=0).run(range(10**6), Squares()):\n"
        "    print(pid, flush=True)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    children = {int(parent.stdout.readline()) for _ in range(20)}
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert all_end(children)


def all_end(processes):
    deadline = time.monotonic() + 120
    while processes and time.monotonic() < deadline:
        processes = {process for process in processes if _lives(process)}
        time.sleep(0.01)
    return not processes


def _lives(pid):
    try:
        return b"\nState:\tZ" not in Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return False


def test_four_workers_make_the_corpus_of_one(tmp_path, monkeypatch):
    from data_prep import units

    monkeypatch.setattr(units, "SMALLEST", 4000)
    monkeypatch.setattr(units, "_UNKNOWN_SIZE", 1)
    config = corpus_config(odd_sources(tmp_path / "data"), **MIXED)
    assert len(units.plan_units(config)) > 4
    prepare(config, tmp_path / "one", silent)
    prepare(config, tmp_path / "four", silent, Processes(4, patience=0))
    assert file_bytes(tmp_path / "one") == file_bytes(tmp_path / "four")


def test_a_source_that_is_wrong_is_told_from_a_worker(tmp_path, monkeypatch):
    from data_prep import units

    monkeypatch.setattr(units, "SMALLEST", 4000)
    sources = odd_sources(tmp_path / "data")
    with (tmp_path / "data" / "d.jsonl").open("a") as file:
        file.write("\nnot JSON")
    with pytest.raises(PipeError, match=r"d\.jsonl, line 91: not JSON"):
        prepare(corpus_config(sources), tmp_path / "out", silent, Processes(2, patience=0))
