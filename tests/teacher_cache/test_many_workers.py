"""Several real processes fill one store, and leave the bytes of one."""

from collections import Counter

import pytest

from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.fill import fill, fill_share
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from teacher_cache.workers import Worker
from tests.teacher_cache.small import dummy, make_corpus, vector_files
from tests.warm import WarmProcess

SHARDS = 13


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A corpus, and the store that one worker makes of it."""
    root = tmp_path_factory.mktemp("alone")
    corpus = make_corpus(root, rows=SHARDS * 64 - 20)
    store = TeacherStore.create(root / "store", corpus)
    fill(store, corpus, dummy(), DummyEncoder(dummy()), lambda line: None)
    return corpus, store


# The one in the middle does everybody's work as well.
@pytest.mark.parametrize("workers", [["1/3", "2/3", "3/3"], ["1/2", "1/1", "2/2"]])
def test_concurrent_workers_leave_what_one_leaves(tmp_path, alone, workers):
    corpus, expected = alone
    directory, log = tmp_path / "store", tmp_path / "encoded.log"
    command = ["tests.teacher_cache.slow_fill", str(directory)]
    command += [str(corpus.directory), str(log), "0.02", "0"]
    processes = [WarmProcess(*command, worker) for worker in workers]
    for process, worker in zip(processes, workers, strict=True):
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0
        assert (f"worker {worker}" in said) == (worker != "1/1")
    store = TeacherStore.open(directory, corpus)
    assert verify(store, corpus) == []
    assert vector_files(directory) == vector_files(expected.directory)
    assert not list((directory / "scratch").iterdir())
    assert not list((directory / "running" / "dummy").iterdir())
    encoded = Counter(map(int, log.read_text().split()))
    assert set(encoded) == set(range(SHARDS))
    if "1/1" not in workers:
        assert set(encoded.values()) == {1}


def test_a_share_is_all_that_a_worker_takes(tmp_path, alone):
    corpus, _ = alone
    store = TeacherStore.create(tmp_path / "store", corpus)
    lines = []
    for number, shards in ((2, range(1, SHARDS, 4)), (2, ()), (4, range(3, SHARDS, 4))):
        before = store.committed("dummy") if "dummy" in store.teachers else frozenset()
        done = fill_share(
            store, corpus, dummy(), lambda: DummyEncoder(dummy()), lines.append, Worker(number, 4)
        )
        assert store.committed("dummy") == before | set(shards)
        assert (done.shards_written, done.shards_standing) == (len(shards), 3 - len(shards))
    assert lines[0] == (
        "dummy (unknown), worker 2/4: 3 of 3 shards to encode, 192 rows, 6.1 kB to write"
    )
    assert "dummy (unknown), worker 2/4: every shard is committed" in lines


def test_more_workers_than_shards(tmp_path, alone):
    corpus, _ = alone
    store = TeacherStore.create(tmp_path / "store", corpus)
    lines = []
    load = lambda: pytest.fail("was loaded")  # noqa: E731
    done = fill_share(store, corpus, dummy(), load, lines.append, Worker(SHARDS + 1, SHARDS + 1))
    assert (done.shards_written, done.shards_standing) == (0, 0)
    assert lines == [
        "dummy (unknown), worker 14/14: there are fewer shards than workers, and none is left for "
        "this one"
    ]


def test_a_teacher_without_missing_shards_is_not_loaded(alone):
    corpus, store = alone
    fill_share(store, corpus, dummy(), lambda: pytest.fail("was loaded"), lambda line: None)
