"""Two writers of one shard: one whole shard with its own commit, in every order of events."""

import json
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache.arrays import shard_path
from teacher_cache.commits import CommitLog
from teacher_cache.manifest import Commit, read_record, write_record
from teacher_cache.placing import place_if_absent
from teacher_cache.shard_check import check_file, digest_of_rows
from teacher_cache.shard_file import ShardShape, write_shard
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from tests.teacher_cache.small import dummy, make_corpus
from tests.warm import WarmProcess


@pytest.fixture
def empty(tmp_path: Path, corpus: Corpus) -> TeacherStore:
    store = TeacherStore.create(tmp_path / "store", corpus)
    store.add_teacher(dummy())
    return store


def nearly(units: np.ndarray) -> np.ndarray:
    """What another machine would give: the same vectors up to rounding."""
    noisy: np.ndarray = units + 1e-3 * np.random.default_rng(1).standard_normal(
        units.shape, np.float32
    )
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    return noisy


def place(store: TeacherStore, vectors: np.ndarray, scratch: Path) -> Path:
    """Put a shard's file in place without a commit, as a writer does before it is killed."""
    target = shard_path(store.directory / "vectors.zarr" / "dummy", 0)
    shape = ShardShape(64, 64, vectors.shape[1], np.dtype("<f2"))
    scratch.mkdir()
    write_shard(scratch / "shard", vectors.astype(np.float16), shape)
    assert place_if_absent(scratch / "shard", target)
    return target


def assert_sound(store: TeacherStore, corpus: Corpus) -> Commit:
    assert verify(store, corpus) == []
    commit = store.commit("dummy", 0)
    assert commit is not None
    return commit


def test_a_committed_shard_is_never_written_again(
    empty: TeacherStore, corpus: Corpus, units: np.ndarray
) -> None:
    first = empty.write_shard("dummy", 0, units, corpus.text_digest(0))
    path = shard_path(empty.directory / "vectors.zarr" / "dummy", 0)
    before = path.stat()
    assert empty.write_shard("dummy", 0, nearly(units), corpus.text_digest(0)) == first
    assert path.stat() == before


def test_a_record_says_which_engine_it_was_and_an_older_one_keeps_its_bytes(
    empty: TeacherStore, corpus: Corpus, units: np.ndarray, tmp_path: Path
) -> None:
    known = empty.write_shard("dummy", 0, units, corpus.text_digest(0), 1.5, "vllm")
    unknown = empty.write_shard("dummy", 1, units, corpus.text_digest(1), 1.5)
    for shard, commit, engine in ((0, known, "vllm"), (1, unknown, None)):
        path = empty.commit_path("dummy", shard)
        values = json.loads(path.read_text())
        assert values.get("engine", None) == engine
        assert ("engine" in values) == (engine is not None)
        assert read_record(path, Commit) == commit
        # As another store takes it over.
        write_record(tmp_path / "again.json", commit)
        assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert known.teacher_fingerprint == unknown.teacher_fingerprint == dummy().fingerprint


@pytest.mark.parametrize("change", [lambda units: units, nearly], ids=["equal", "nearly"])
def test_a_file_without_a_commit_is_committed_as_it_stands(
    empty: TeacherStore, corpus: Corpus, units: np.ndarray, tmp_path: Path, change: object
) -> None:
    """A rival has placed its file and is about to commit, or was killed a moment ago."""
    rival = change(units)  # type: ignore[operator]
    target = place(empty, rival, tmp_path / "rival")
    standing = target.stat()
    empty.write_shard("dummy", 0, units, corpus.text_digest(0))
    assert target.stat().st_ino == standing.st_ino
    assert assert_sound(empty, corpus).vectors_digest == digest_of_rows(rival.astype(np.float16))


def test_an_old_file_without_a_commit_gives_way_unless_it_is_equal(
    empty: TeacherStore, corpus: Corpus, units: np.ndarray, tmp_path: Path
) -> None:
    target = place(empty, nearly(units), tmp_path / "rival")
    long_ago = time.time() - 7200
    os.utime(target, (long_ago, long_ago))
    empty.write_shard("dummy", 0, units, corpus.text_digest(0))
    assert assert_sound(empty, corpus).vectors_digest == digest_of_rows(units.astype(np.float16))


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_damaged_file_without_a_commit_gives_way(
    empty: TeacherStore, corpus: Corpus, units: np.ndarray, tmp_path: Path, keep: int
) -> None:
    target = place(empty, units, tmp_path / "rival")
    target.write_bytes(target.read_bytes()[:keep])
    empty.write_shard("dummy", 0, units, corpus.text_digest(0))
    assert assert_sound(empty, corpus).vectors_digest == digest_of_rows(units.astype(np.float16))


def test_other_vectors_without_a_commit_give_way(
    empty: TeacherStore, corpus: Corpus, units: np.ndarray, tmp_path: Path
) -> None:
    place(empty, -units, tmp_path / "rival")
    empty.write_shard("dummy", 0, units, corpus.text_digest(0))
    assert assert_sound(empty, corpus).vectors_digest == digest_of_rows(units.astype(np.float16))


@pytest.mark.parametrize("change", [nearly, np.negative], ids=["nearly", "other"])
@pytest.mark.parametrize("moment", ["before_placing", "before_commit"])
def test_a_rival_at_the_worst_moment(
    empty: TeacherStore,
    corpus: Corpus,
    units: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    change: object,
) -> None:
    """A rival writes and commits the same shard in between two steps of ours."""
    rival = TeacherStore.open(empty.directory)
    done: list[Commit] = []

    def let_the_rival_in() -> None:
        if not done:
            done.append(None)  # type: ignore[arg-type]  # the rival takes these steps as well
            vectors = change(units)  # type: ignore[operator]
            done[0] = rival.write_shard("dummy", 0, vectors, corpus.text_digest(0))

    write, commit = write_shard, CommitLog.write_if_absent

    def writing(*args: object) -> int:
        if moment == "before_placing":
            let_the_rival_in()
        return write(*args)  # type: ignore[arg-type]

    def committing(*args: object) -> bool:
        if moment == "before_commit":
            let_the_rival_in()
        return commit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("teacher_cache.writer.write_shard", writing)
    monkeypatch.setattr(CommitLog, "write_if_absent", committing)
    ours = empty.write_shard("dummy", 0, units, corpus.text_digest(0))
    assert ours == done[0] == assert_sound(empty, corpus)


def test_workers_on_different_machines_leave_a_sound_store(tmp_path: Path) -> None:
    """Three at once over the same shards, their vectors differing in the last places."""
    directory = tmp_path / "store"
    corpus = make_corpus(tmp_path, 40 * 64)
    TeacherStore.create(directory, corpus)
    command = ["tests.teacher_cache.slow_fill", str(directory), str(corpus.directory)]
    workers = [
        WarmProcess(*command, str(tmp_path / f"{number}.log"), "0", "1e-4") for number in range(3)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=240)
        assert worker.returncode == 0, errors
    encoded = sum(len((tmp_path / f"{n}.log").read_text().split()) for n in range(3))
    assert encoded >= 40
    store = TeacherStore.open(directory, corpus)
    assert store.missing("dummy") == []
    assert verify(store, corpus) == []


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    one, other, target = tmp_path / "one", tmp_path / "other", tmp_path / "deep" / "er" / "target"
    one.write_text("one")
    other.write_text("other")
    assert place_if_absent(one, target)
    assert not place_if_absent(other, target)
    assert place_if_absent(one, target)  # NFS: our own link, its answer lost
    assert target.read_text() == "one"


def test_without_hard_links_a_rename_takes_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    one, other, target = tmp_path / "one", tmp_path / "other", tmp_path / "target"
    one.write_text("one")
    other.write_text("other")
    assert place_if_absent(one, target)
    assert not place_if_absent(other, target)
    assert target.read_text() == "one"


def test_scratch_of_killed_writers_goes_after_an_hour(empty: TeacherStore) -> None:
    old, new = empty.directory / "scratch" / "old", empty.directory / "scratch" / "new"
    for path in (old, new):
        path.mkdir(parents=True)
        (path / "file").write_text("")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    empty.sweep_scratch()
    assert not old.exists()
    assert new.exists()


def test_a_shard_that_does_not_exist_is_refused(empty: TeacherStore, units: np.ndarray) -> None:
    with pytest.raises(PipeError, match="found shard 3"):
        empty.write_shard("dummy", 3, units, "0" * 64)


@pytest.mark.parametrize("step", range(6))
def test_stopped_after_any_step_there_is_a_whole_shard_or_none(
    empty: TeacherStore,
    corpus: Corpus,
    units: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    """As a kill does, nothing is cleaned up; the next writer finds the same vectors to write."""

    class Killed(BaseException):
        pass

    steps = iter(range(100))

    def stopping(function: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object) -> object:
            if next(steps) == step:
                raise Killed
            result = function(*args)
            if next(steps) == step:
                raise Killed
            return result

        return run

    with monkeypatch.context() as patch:
        patch.setattr("teacher_cache.writer.shutil.rmtree", lambda *_, **__: None)
        patch.setattr("teacher_cache.writer.place_if_absent", stopping(place_if_absent))
        patch.setattr("teacher_cache.commits.place_if_absent", stopping(place_if_absent))
        patch.setattr("teacher_cache.writer.write_shard", stopping(write_shard))
        with pytest.raises(Killed):
            empty.write_shard("dummy", 0, units, corpus.text_digest(0))
    assert verify(empty, corpus) == []
    committed = empty.committed("dummy") == {0}
    assert committed == (step == 5)
    empty.write_shard("dummy", 0, units, corpus.text_digest(0))
    assert assert_sound(empty, corpus).vectors_digest == digest_of_rows(units.astype(np.float16))


def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    empty: TeacherStore, corpus: Corpus, units: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(PipeError, match=r"No space left on device.*the same command goes on"):
            empty.write_shard("dummy", 0, units, corpus.text_digest(0))
    assert empty.missing("dummy") == [0, 1, 2]
    assert not list((empty.directory / "scratch").iterdir())
    empty.write_shard("dummy", 0, units, corpus.text_digest(0))
    assert_sound(empty, corpus)


def test_checking_a_file_takes_a_block_of_memory(tmp_path: Path, empty: TeacherStore) -> None:
    shape = ShardShape(2**15, 2**15, 32, np.dtype("<f2"))
    rows = np.random.default_rng(0).standard_normal((shape.rows, shape.columns)).astype("<f2")
    path = tmp_path / "shard"
    checksums = write_shard(path, rows, shape)
    entry, log = empty.entry("dummy"), CommitLog(tmp_path, empty.layout)
    commit = log.new(entry, 0, "0" * 64, digest_of_rows(rows), checksums, None)
    tracemalloc.start()
    try:
        check_file(path, shape, commit)
        assert tracemalloc.get_traced_memory()[1] < shape.file_bytes / 2
    finally:
        tracemalloc.stop()
