"""How far a store is: the counts add up, and the pace is that of the work."""

import random
import socket

import pytest

from data_prep.errors import PipeError
from teacher_cache.arrays import shard_path
from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.fill import fill_share
from teacher_cache.progress import Stamp, TeacherProgress, rows_per_second, teacher_progress
from teacher_cache.running import mark
from teacher_cache.store import TeacherStore
from teacher_cache.workers import Worker
from tests.teacher_cache.small import dummy, make_corpus, rewrite


@pytest.fixture(scope="module")
def big_corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), rows=10 * 64 - 20)


@pytest.fixture
def half(tmp_path, big_corpus):
    """A store in which the even one of two workers has done its share: 1, 3, 5, 7 and 9."""
    store = TeacherStore.create(tmp_path / "store", big_corpus)
    load = lambda: DummyEncoder(dummy())  # noqa: E731
    fill_share(store, big_corpus, dummy(), load, lambda line: None, Worker(2, 2))
    return store


def counts(store):
    found = teacher_progress(store, "dummy")
    assert found.done + found.running + found.missing + found.bad == found.shards == 10
    return found.done, found.running, found.missing, found.bad, found.rows_left


def commit(store, shard):
    return store.directory / "commits" / "dummy" / f"{shard:05d}.json"


def test_done_running_missing_and_bad(half):
    assert counts(half) == (5, 0, 5, 0, 5 * 64)
    # A mark of a committed shard is its worker's last moment.
    with mark(half.directory, "dummy", 0, "a"), mark(half.directory, "dummy", 3, "a"):
        assert counts(half) == (5, 1, 4, 0, 5 * 64)
        commit(half, 9).write_text("{")
        commit(half, 7).write_text(commit(half, 5).read_text())
        assert counts(half) == (3, 1, 4, 2, 7 * 64 - 20)
        path = shard_path(half.directory / "vectors.zarr" / "dummy", 1)
        path.write_bytes(path.read_bytes()[:-1])
        path = shard_path(half.directory / "vectors.zarr" / "dummy", 3)
        path.unlink()
        again = TeacherStore.open(half.directory, check_commits=False)
        assert counts(again) == (1, 1, 4, 4, 9 * 64 - 20)
    with pytest.raises(PipeError):
        TeacherStore.open(half.directory)


def test_a_broken_array_spoils_what_lies_in_it(half):
    (half.directory / "vectors.zarr" / "dummy" / "zarr.json").write_text("{")
    assert counts(half) == (0, 0, 5, 5, 620)


def test_a_teacher_that_the_store_does_not_have(half):
    found = teacher_progress(half, "nobody")
    assert found == TeacherProgress.untouched("nobody", half.layout)
    assert (found.missing, found.rows_left, found.seconds_left) == (10, 620, None)


def test_time_left_follows_from_the_pace(half, big_corpus):
    for minute, shard in enumerate((1, 3, 5, 7, 9)):
        created = f"2026-01-01T00:0{minute}:00+00:00"
        rewrite(commit(half, shard), created=created, seconds=None)
    found = teacher_progress(half, "dummy")
    assert found.rows_per_second == pytest.approx((3 * 64 + 44) / 240)
    assert found.seconds_left == pytest.approx(5 * 64 / found.rows_per_second)
    load = lambda: DummyEncoder(dummy())  # noqa: E731
    fill_share(half, big_corpus, dummy(), load, lambda line: None, Worker(1, 2))
    assert teacher_progress(half, "dummy").seconds_left == 0


def session(workers, shards, seconds, begun, spread, rng):
    """Workers that each encode shards of 100 rows, one after the other."""
    stamps = []
    for worker in range(workers):
        now = begun + spread * worker / workers
        for _ in range(shards):
            took = seconds * rng.uniform(0.98, 1.02)
            now += took
            stamps.append(Stamp(now, took, 100))
    return stamps


@pytest.mark.parametrize("workers", [1, 16, 100])
@pytest.mark.parametrize("shards", [1, 4, 40])
@pytest.mark.parametrize("spread", [0.0, 600.0])
def test_the_pace_of_many_workers(workers, shards, spread):
    """Whether they commit together or one after the other, after one round or many."""
    rng = random.Random(4)
    stamps = session(workers, shards, 600.0, 1e6, spread, rng)
    rng.shuffle(stamps)
    true = workers * 100 / 600.0
    # In the first rounds the workers that are still at it are not seen.
    slack = 0.15 if spread == 0 or shards > 4 else 0.55
    assert rows_per_second(stamps) == pytest.approx(true, rel=slack)


def test_only_the_last_session_counts():
    rng = random.Random(4)
    slow = session(2, 30, 900.0, 0.0, 0.0, rng)
    fast = session(8, 30, 60.0, 200_000.0, 0.0, rng)
    assert rows_per_second(slow + fast) == pytest.approx(8 * 100 / 60, rel=0.15)
    # A rest between two sessions is not work, however few shards there are behind it.
    assert rows_per_second([*slow, Stamp(300_000.0, 900.0, 100)]) == pytest.approx(100 / 900)


def test_without_durations_the_work_of_the_first_commit_is_not_timed():
    stamps = [Stamp(10.0 * n, 0.0, 100) for n in range(5)]
    assert rows_per_second(stamps) == pytest.approx(10)
    # Seventy old ones are forgotten.
    old = [Stamp(-700.0 + 7 * n, 0.0, 1) for n in range(70)]
    assert rows_per_second([*old, *(Stamp(n * 7.0, 0.0, 100) for n in range(64))]) == (
        pytest.approx(100 / 7)
    )


def test_what_cannot_be_told_is_none():
    assert rows_per_second([]) is None
    assert rows_per_second([Stamp(5.0, 0.0, 100)]) is None
    assert rows_per_second([Stamp(5.0, 0.0, 100)] * 9) is None
    assert rows_per_second([Stamp(5.0, 2.0, 100)]) == 50


def test_machines_are_told_apart(half):
    here = socket.gethostname()
    with mark(half.directory, "dummy", 0, "a"), mark(half.directory, "dummy", 2, "b"):
        other = half.directory / "running" / "dummy" / "00004.c.node-17.far-99"
        other.touch()
        found = teacher_progress(half, "dummy")
    assert found.running_on == {here: 2, "node-17.far": 1}
    assert found.written_by == {here: 5}
    other.unlink()
    assert teacher_progress(half, "dummy").running_on == {}
