"""The division of shards among workers, and who a launcher says that one is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import UsageError
from teacher_cache.workers import ALONE, Worker, from_environment, local_place, parse


@given(workers=st.integers(1, 40), shards=st.integers(0, 200), done=st.sets(st.integers(0, 199)))
def test_the_workers_take_every_shard_once_whatever_is_missing(workers, shards, done):
    everyone = [Worker(number, workers) for number in range(1, workers + 1)]
    shares = [worker.share(range(shards)) for worker in everyone]
    assert sorted(shard for share in shares for shard in share) == list(range(shards))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    missing = [shard for shard in range(shards) if shard not in done]
    for worker, share in zip(everyone, shares, strict=True):
        assert worker.share(missing) == [shard for shard in share if shard in missing]


def test_the_only_worker_takes_everything_in_order():
    assert ALONE.share([5, 2, 3]) == [5, 2, 3]


def test_it_is_read_as_it_is_shown():
    assert parse(str(Worker(3, 16))) == Worker(3, 16)
    assert parse(" 1/1\n") == ALONE


@pytest.mark.parametrize(
    "text", ["", "3", "3/", "/3", "a/b", "3/16/2", "-1/4", "1.0/4", "0/4", "5/4", "1/0", "²/3"]
)
def test_other_spellings_are_refused(text):
    with pytest.raises(UsageError, match="expected"):
        parse(text)


def array(task, first=0, last=15, count=16, **more):
    values = {"ID": task, "MIN": first, "MAX": last, "COUNT": count, **more}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def srun(number, tasks):
    return {"SLURM_PROCID": str(number), "SLURM_NTASKS": str(tasks)}


STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}


@pytest.mark.parametrize(
    ("environ", "worker", "source"),
    [
        ({}, "1/1", ""),
        ({"RANK": "2", "WORLD_SIZE": "8"}, "3/8", "torchrun"),
        ({"RANK": "0", "WORLD_SIZE": "1"}, "1/1", "torchrun"),
        (array(0), "1/16", "the SLURM array"),
        (array(15), "16/16", "the SLURM array"),
        (array(4, 1, 4, 4), "4/4", "the SLURM array"),
        (array(7, 1, 10, 4, STEP=3), "3/4", "the SLURM array"),
        (array(9, 9, 9, 1), "1/1", "the SLURM array"),
        (srun(3, 4), "4/4", "srun"),
        (srun(0, 4), "1/4", "srun"),
        (srun(0, 4) | STEP, "1/4", "srun"),
        # The job's own script is one process, however many tasks it may start.
        (srun(0, 4) | {"SLURM_JOB_ID": "7"}, "1/1", ""),
        (array(2, 0, 3, 4) | srun(1, 8) | STEP, "18/32", "the SLURM array and srun"),
        (array(2, 0, 3, 4) | srun(0, 8) | {"SLURM_JOB_ID": "7"}, "3/4", "the SLURM array"),
        # torchrun was started by srun, once per node, and knows of all nodes.
        ({"RANK": "9", "WORLD_SIZE": "16"} | srun(1, 2) | STEP, "10/16", "torchrun"),
        (
            array(1, 0, 1, 2) | {"RANK": "3", "WORLD_SIZE": "8"},
            "12/16",
            "the SLURM array and torchrun",
        ),
    ],
)
def test_what_launchers_say(environ, worker, source):
    found = from_environment(environ)
    assert (str(found), found.source) == (worker, source)


def test_an_array_of_steps_covers_everything_once():
    shards = [
        shard
        for task in (0, 3, 6)
        for process in range(4)
        for shard in from_environment(array(task, 0, 6, 3, STEP=3) | srun(process, 4)).share(
            range(50)
        )
    ]
    assert sorted(shards) == list(range(50))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"RANK": "2"}, "RANK.*companion"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE.*companion"),
        ({"RANK": "two", "WORLD_SIZE": "8"}, "'two' for RANK"),
        ({"RANK": "-1", "WORLD_SIZE": "8"}, "'-1' for RANK"),
        ({"RANK": "8", "WORLD_SIZE": "8"}, "worker 9/8 from torchrun"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "worker 1/0 from torchrun"),
        ({"SLURM_PROCID": "0"}, "no value for SLURM_NTASKS"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, "no value for SLURM_ARRAY_TASK_MIN"),
        (array(""), "'' for SLURM_ARRAY_TASK_ID"),
        # --array=1,5,6
        (array(5, 1, 6, 3), "array without gaps; use --array=0-2"),
        (array(5, 1, 9, 3, STEP=4) | {"SLURM_ARRAY_TASK_ID": "6"}, "without gaps"),
        (array(3, 0, 15, 16, STEP=0), "without gaps"),
        (array(20), "worker 21/16"),
    ],
)
def test_contradictions_are_refused(environ, words):
    with pytest.raises(UsageError, match=words):
        from_environment(environ)


def test_the_place_on_a_machine():
    assert local_place({}) == 0
    assert local_place({"LOCAL_RANK": "3", "SLURM_LOCALID": "1"}) == 3
    assert local_place({"SLURM_LOCALID": "1"}) == 1
    with pytest.raises(UsageError, match="'x' for LOCAL_RANK"):
        local_place({"LOCAL_RANK": "x"})
