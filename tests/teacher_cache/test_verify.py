"""Verifying: a sound store has no problems, and each kind of damage has its own."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpus import Corpus
from teacher_cache.shard_check import digest_of_rows
from teacher_cache.shard_file import ShardShape, write_shard
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from tests.teacher_cache.small import change_text, make_corpus, rewrite

WIDE = Path("vectors.zarr/wide/c")
COMMITS = Path("commits/wide")


def found(store: TeacherStore, corpus: Corpus) -> set[tuple[str | None, int | None, str]]:
    reopened = TeacherStore.open(store.directory, check_commits=False)
    return {(p.teacher, p.shard, p.kind) for p in verify(reopened, corpus)}


def flip_data(root: Path) -> None:
    path = root / WIDE / "1" / "0"
    data = bytearray(path.read_bytes())
    data[1001] ^= 1
    path.write_bytes(data)


def flip_index(root: Path) -> None:
    path = root / WIDE / "1" / "0"
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)


def cut(root: Path) -> None:
    path = root / WIDE / "1" / "0"
    path.write_bytes(path.read_bytes()[:-100])


def zero_tail(root: Path) -> None:
    path = root / WIDE / "1" / "0"
    data = path.read_bytes()
    path.write_bytes(data[:500] + bytes(len(data) - 500))


def other_teachers(root: Path) -> None:
    shutil.copy(root / "vectors.zarr/narrow/c/1/0", root / WIDE / "1" / "0")


def other_shard(root: Path) -> None:
    shutil.copy(root / WIDE / "0" / "0", root / WIDE / "1" / "0")


def commit_change(**changes: object) -> Callable[[Path], None]:
    return lambda root: rewrite(root / COMMITS / "00001.json", **changes)


DAMAGE: list[tuple[Callable[[Path], object], set[str]]] = [
    (flip_data, {"file"}),
    (flip_index, {"file"}),
    (cut, {"file"}),
    (zero_tail, {"file"}),
    (other_teachers, {"file"}),
    (other_shard, {"file"}),
    (lambda root: (root / WIDE / "1" / "0").unlink(), {"file"}),
    (commit_change(vectors_digest="0" * 64), {"file"}),
    (commit_change(chunks_crc32c=[0]), {"file"}),
    (commit_change(text_digest="0" * 64), {"texts"}),
    (commit_change(teacher="narrow"), {"commit"}),
    (commit_change(shard=True), {"commit"}),
    (lambda root: (root / COMMITS / "00001.json").write_text("{"), {"commit"}),
]


def test_a_sound_store_has_no_problems(store: TeacherStore, corpus: Corpus) -> None:
    assert found(store, corpus) == set()


@pytest.mark.parametrize(("damage", "kinds"), DAMAGE)
def test_damage_is_found_where_it_is(
    store: TeacherStore,
    corpus: Corpus,
    damage: Callable[[Path], object],
    kinds: set[str],
) -> None:
    damage(store.directory)
    assert found(store, corpus) == {("wide", 1, kind) for kind in kinds}


def test_a_commit_of_a_shard_beyond_the_last_is_found(store: TeacherStore, corpus: Corpus) -> None:
    commits = store.directory / COMMITS
    shutil.copy(commits / "00001.json", commits / "00007.json")
    assert found(store, corpus) == {("wide", 7, "commit")}


def test_texts_changed_after_encoding_are_found(store: TeacherStore, corpus: Corpus) -> None:
    change_text(corpus, 130)
    assert found(store, corpus) == {(None, 2, "texts")}


def test_changed_metadata_is_found(store: TeacherStore, corpus: Corpus) -> None:
    path = store.directory / "vectors.zarr/wide/zarr.json"
    path.write_text(path.read_text().replace("float16", "float32"))
    assert found(store, corpus) == {("wide", None, "array")}


def test_unsound_values_are_found_though_their_digest_is_right(
    store: TeacherStore, corpus: Corpus, tmp_path: Path
) -> None:
    vectors = store.read_stored("wide", np.arange(64, 128)).copy()
    vectors[3], vectors[9] = np.nan, 0.0
    shape = ShardShape(64, 64, vectors.shape[1], vectors.dtype)
    checksum = write_shard(tmp_path / "bad", vectors, shape)
    shutil.copy(tmp_path / "bad", store.directory / WIDE / "1" / "0")
    digest = digest_of_rows(vectors)
    commit_change(vectors_digest=digest, chunks_crc32c=checksum)(store.directory)
    problems = verify(TeacherStore.open(store.directory), corpus)
    assert [(p.shard, p.kind) for p in problems] == [(1, "values")]
    assert "2 vectors" in problems[0].message
    assert "row 67" in problems[0].message


def test_another_corpus_is_one_problem(store: TeacherStore, tmp_path: Path) -> None:
    assert found(store, make_corpus(tmp_path / "other", 170, seed=9)) == {(None, None, "corpus")}
