"""Filling: resumed is uninterrupted, killed is resumed, and nothing is encoded twice."""

import errno
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache.encoders import load_encoder
from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.fill import fill
from teacher_cache.running import running
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from teacher_cache.writer import ShardWriter
from tests import warm
from tests.killed import killed
from tests.teacher_cache.small import (
    LoggingEncoder,
    change_text,
    dummy,
    make_corpus,
    vector_files,
)

SHARDS = 40
ROWS = SHARDS * 64 - 20


def commit_files(store: Path) -> dict[str, tuple[int, bytes]]:
    paths = (store / "commits").glob("*/*.json")
    return {path.stem: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    """Five times kill -9, behind a shard that is in its place or committed, and then in peace."""
    corpus = make_corpus(tmp_path, ROWS)
    directory, log = tmp_path / "store", tmp_path / "encoded.log"
    log.touch()
    command = ["tests.teacher_cache.slow_fill", str(directory)]
    command += [str(corpus.directory), str(log), "0", "0"]
    before: dict[str, tuple[int, bytes]] = {}
    moments = ["c/0/0", "commits/dummy/00000.json", "c/7/0", "commits/dummy/00023.json", "c/39/0"]
    for moment in [*moments, None]:
        encoded_before = log.read_text().split()
        if moment:
            assert killed(f"{directory}/*{moment}", *command)
        else:
            assert warm.run(*command).returncode == 0

        after = commit_files(directory)
        # What was committed stays, to the byte, and was not encoded again.
        assert {name: after[name] for name in before} == before
        encoded = log.read_text().split()[len(encoded_before) :]
        assert not {f"{int(shard):05d}" for shard in encoded} & before.keys()
        store = TeacherStore.open(directory, corpus)
        assert verify(store, corpus) == []
        before = after
    assert len(before) == SHARDS
    # Each kill costs at most the shard being encoded and the one being written.
    assert len(log.read_text().split()) <= SHARDS + 2 * len(moments)

    undisturbed = TeacherStore.create(tmp_path / "undisturbed", corpus)
    fill(undisturbed, corpus, dummy(), DummyEncoder(dummy()), lambda line: None)
    assert vector_files(directory) == vector_files(undisturbed.directory)


def test_a_filled_store_is_left_alone(tmp_path: Path, store: TeacherStore, corpus: Corpus) -> None:
    files = vector_files(store.directory)
    encoder = LoggingEncoder(dummy("wide", 24), corpus, tmp_path / "log")
    summary = fill(store, corpus, dummy("wide", 24), encoder, lambda line: None)
    assert (summary.shards_written, summary.rows_written, summary.shards_standing) == (0, 0, 3)
    assert not (tmp_path / "log").exists()
    assert vector_files(store.directory) == files


def test_an_error_keeps_what_was_committed(tmp_path: Path, corpus: Corpus) -> None:
    class Failing(DummyEncoder):
        def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
            if texts[0] == corpus.texts(1)[0][0]:
                raise KeyboardInterrupt
            return super().encode(texts, roles)

    store = TeacherStore.create(tmp_path / "store", corpus)
    with pytest.raises(KeyboardInterrupt):
        fill(store, corpus, dummy(), Failing(dummy()), lambda line: None)
    assert store.committed("dummy") == {0}
    lines: list[str] = []
    summary = fill(store, corpus, dummy(), DummyEncoder(dummy()), lines.append)
    assert (summary.shards_written, summary.rows_written) == (2, 106)
    assert lines[0].startswith("dummy (unknown): 2 of 3 shards to encode, 106 rows")
    assert len(lines) == 3
    assert "106 of 106 rows" in lines[-1]


def test_a_shard_is_written_while_the_next_one_is_encoded(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = [threading.Event() for _ in range(3)]
    first_texts = [corpus.texts(shard)[0][0] for shard in range(3)]
    write = ShardWriter.write

    class Noting(DummyEncoder):
        def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
            if texts[0] in first_texts:
                begun[first_texts.index(texts[0])].set()
            return super().encode(texts, roles)

    def waiting(self: ShardWriter, entry: Any, storage: Any, shard: int, *rest: Any) -> Any:
        if shard < 2:
            assert begun[shard + 1].wait(60)
            assert {shard, shard + 1} >= running(tmp_path / "store", "dummy") >= {shard}
            assert store.committed("dummy") == set(range(shard))
        return write(self, entry, storage, shard, *rest)

    monkeypatch.setattr(ShardWriter, "write", waiting)
    store = TeacherStore.create(tmp_path / "store", corpus)
    assert fill(store, corpus, dummy(), Noting(dummy()), lambda line: None).shards_written == 3
    assert running(store.directory, "dummy") == frozenset()
    assert verify(store, corpus) == []


def test_an_error_of_the_writer_ends_it_before_the_next_commit(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = TeacherStore.create(tmp_path / "store", corpus)
    with monkeypatch.context() as patch:
        patch.setattr("teacher_cache.writer.write_shard", full)
        with pytest.raises(PipeError, match=r"shard 0 of dummy could not be written .*No space"):
            fill(store, corpus, dummy(), DummyEncoder(dummy()), lambda line: None)
    assert not store.committed("dummy")
    assert running(store.directory, "dummy") == frozenset()
    # Nothing goes on touching the mark of the shard that was encoded meanwhile.
    assert not [thread for thread in threading.enumerate() if "_beat" in thread.name]
    assert fill(store, corpus, dummy(), DummyEncoder(dummy()), print).shards_written == 3


def test_teachers_do_not_touch_each_other(store: TeacherStore, corpus: Corpus) -> None:
    before = vector_files(store.directory)
    fill(store, corpus, dummy("new", 8), DummyEncoder(dummy("new", 8)), lambda line: None)
    after = vector_files(store.directory)
    assert {name: after[name] for name in before} == before
    assert store.read(np.arange(170)).shape == (170, 48)


def test_changed_texts_are_refused_before_they_are_encoded(tmp_path: Path, corpus: Corpus) -> None:
    store = TeacherStore.create(tmp_path / "store", corpus)
    change_text(corpus, 70)
    encoder = LoggingEncoder(dummy(), corpus, tmp_path / "log")
    with pytest.raises(PipeError, match=r"spans-00001\.parquet does not hold the texts"):
        fill(store, corpus, dummy(), encoder, lambda line: None)
    assert (tmp_path / "log").read_text().split() == ["0"]


def test_a_changed_teacher_is_refused_before_it_encodes(
    tmp_path: Path, store: TeacherStore, corpus: Corpus
) -> None:
    changed = dummy("wide", 24, max_tokens=32)
    encoder = LoggingEncoder(changed, corpus, tmp_path / "log")
    with pytest.raises(PipeError, match="max_tokens changed from 64 to 32"):
        fill(store, corpus, changed, encoder, lambda line: None)
    with pytest.raises(PipeError, match="found vectors of 24 numbers from other, expected 23"):
        fill(store, corpus, dummy("other", 23), encoder, lambda line: None)
    assert not (tmp_path / "log").exists()


def test_a_store_of_another_corpus_is_refused(store: TeacherStore, tmp_path: Path) -> None:
    other = make_corpus(tmp_path / "other", 170, seed=5)
    with pytest.raises(PipeError, match="another corpus"):
        fill(store, other, dummy(), DummyEncoder(dummy()), lambda line: None)


def test_a_factored_teacher_is_stored_as_its_states(corpus: Corpus, tmp_path: Path) -> None:
    """What is read is what the teacher gives, up to the rounding of the states."""
    teacher = dummy("whole", 32, kind="dummy-factored", storage="factored")
    encoder = load_encoder(teacher)
    store = TeacherStore.create(tmp_path / "store", corpus)
    fill(store, corpus, teacher, encoder, lambda line: None)
    rows = np.arange(corpus.rows)
    texts, roles = corpus.take(rows)
    expected = encoder.encode(texts, roles)
    assert store.read_stored("whole", rows).shape[1] < 32
    assert np.einsum("nd,nd->n", store.read_teacher("whole", rows), expected).min() > 0.99999
    assert verify(store, corpus) == []


def test_states_that_do_not_give_the_vectors_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    teacher = dummy("whole", 32, kind="dummy-factored", storage="factored")
    encoder = load_encoder(teacher)
    encoder.encode_states, encoder.encode = (
        lambda texts, roles: load_encoder(teacher).encode_states(texts, roles)[:, ::-1],
        load_encoder(teacher).encode,
    )
    store = TeacherStore.create(tmp_path / "store", corpus)
    with pytest.raises(PipeError, match="expected at least"):
        fill(store, corpus, teacher, encoder, lambda line: None)
    assert not store.teachers


def test_a_teacher_without_a_last_layer_cannot_be_factored(corpus: Corpus, tmp_path: Path) -> None:
    teacher = dummy("plain", 32, storage="factored")
    store = TeacherStore.create(tmp_path / "store", corpus)
    with pytest.raises(PipeError, match="found no linear layer at the end of teacher plain"):
        fill(store, corpus, teacher, load_encoder(teacher), lambda line: None)
