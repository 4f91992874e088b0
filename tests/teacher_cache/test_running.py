"""Marks of running shards: there while somebody lives, and in nobody's way."""

import os
import time
from pathlib import Path

import pytest

from data_prep.errors import PipeError
from teacher_cache import running as marks
from teacher_cache.running import mark, running, sweep


def files(store):
    return sorted(path.name for path in (store / "running").rglob("*") if path.is_file())


def age(store, seconds):
    for path in (store / "running").rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_mark_stands_while_the_block_runs(tmp_path):
    assert running(tmp_path, "t") == frozenset()
    with mark(tmp_path, "t", 7, "one"), mark(tmp_path, "t", 123456, "two"):
        assert running(tmp_path, "t") == {7, 123456}
        assert running(tmp_path, "other") == frozenset()
        # Two workers at one shard are one running shard.
        with mark(tmp_path, "t", 7, "three"):
            assert len(files(tmp_path)) == 3
            assert running(tmp_path, "t") == {7, 123456}
    assert files(tmp_path) == []


def test_an_interrupt_takes_the_mark_away(tmp_path):
    with pytest.raises(KeyboardInterrupt), mark(tmp_path, "t", 7, "one"):
        raise KeyboardInterrupt
    assert files(tmp_path) == []


def test_a_heartbeat_keeps_it_young_and_brings_it_back(tmp_path, monkeypatch):
    monkeypatch.setattr(marks, "BEAT_SECONDS", 0.01)
    with mark(tmp_path, "t", 7, "one"):
        for harm in (lambda: age(tmp_path, 1000), lambda: sweep(tmp_path, "t", "one")):
            harm()
            deadline = time.monotonic() + 120
            while running(tmp_path, "t") != {7}:
                assert time.monotonic() < deadline
                time.sleep(0.005)
    assert files(tmp_path) == []


def test_a_dead_workers_mark_counts_no_more_and_is_swept(tmp_path):
    marked = mark(tmp_path, "t", 7, "one")
    marked.__enter__()
    age(tmp_path, marks.STALE_SECONDS + 1)
    assert running(tmp_path, "t") == frozenset()
    assert len(files(tmp_path)) == 1
    with mark(tmp_path, "t", 8, "two"):
        sweep(tmp_path, "t", "three")
        assert [name[:5] for name in files(tmp_path)] == ["00008"]
        sweep(tmp_path, "t", "two")
        assert files(tmp_path) == []
    marked.__exit__(None, None, None)


def test_a_mark_that_cannot_be_written_stops_nobody(tmp_path):
    (tmp_path / "running").write_text("in the way")
    with mark(tmp_path, "t", 7, "one"):
        assert running(tmp_path, "t") == frozenset()
    sweep(tmp_path, "t", "one")


def test_nothing_but_marks_is_removed(tmp_path: Path) -> None:
    marks = tmp_path / "running" / "dummy"
    marks.mkdir(parents=True)
    foreign = marks / "notes.txt"
    old = marks / "00003.session.host-1"
    for path in (foreign, old):
        path.touch()
        os.utime(path, (0, 0))
    sweep(tmp_path, "dummy", "other")
    assert foreign.exists()
    assert not old.exists()


@pytest.mark.parametrize("link", ["running", "running/dummy"])
def test_a_link_to_elsewhere_is_refused(tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "dummy").mkdir(parents=True)
    store = tmp_path / "store"
    (store / link).parent.mkdir(parents=True)
    (store / link).symlink_to(elsewhere)
    with pytest.raises(PipeError, match="symbolic link"):
        sweep(store, "dummy", "session")
