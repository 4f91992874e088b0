"""Rows with another row's vector: found by hash, compared by bytes, explained by texts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.corpus import Corpus
from teacher_cache import duplicates
from teacher_cache.config import TeacherConfig
from teacher_cache.duplicates import RowHashes, explains
from teacher_cache.store import TeacherStore
from teacher_cache.verify import Problem, verify
from tests.teacher_cache.small import dummy, make_corpus

ROWS = 10 * 64


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("texts"), ROWS)


def vectors_of(rows: int, dim: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(3).standard_normal((rows, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def problems(place: Path, corpus: Corpus, spoil: Callable[[np.ndarray], object]) -> list[Problem]:
    """What is found in a store whose vectors something happened to."""
    vectors = vectors_of(ROWS)
    spoil(vectors)
    store = TeacherStore.create(place / "store", corpus)
    store.add_teacher(dummy())
    for shard in range(corpus.num_shards):
        rows = store.layout.range_of(shard)
        store.write_shard("dummy", shard, vectors[rows], corpus.text_digest(shard))
    return verify(store, corpus)


def repeat(vectors: np.ndarray, times: int) -> None:
    """So many rows get the vectors of rows elsewhere."""
    vectors[400 : 400 + times] = vectors[3 : 3 + times]


def test_vectors_of_their_own_are_no_problem(tmp_path: Path, texts: Corpus) -> None:
    assert problems(tmp_path, texts, lambda vectors: None) == []


@pytest.mark.parametrize(("pairs", "severity"), [(1, "warning"), (4, "warning"), (5, "error")])
def test_a_few_are_worth_a_look_and_more_are_an_error(
    tmp_path: Path, texts: Corpus, pairs: int, severity: str
) -> None:
    (found,) = problems(tmp_path, texts, lambda vectors: repeat(vectors, pairs))
    assert (found.kind, found.teacher, found.severity) == ("duplicates", "dummy", severity)
    assert found.message.startswith(f"{2 * pairs} of {ROWS} vectors of dummy ")


def test_a_constant_teacher_is_an_error_however_few_are_compared(
    tmp_path: Path, texts: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_MOST_EXAMINED", 50)
    (found,) = problems(tmp_path, texts, lambda vectors: vectors.__setitem__(..., vectors[0]))
    assert found.severity == "error"
    assert found.message.startswith(f"{ROWS} of {ROWS} ")


def test_a_damaged_shard_is_not_taken_for_duplicates(tmp_path: Path, texts: Corpus) -> None:
    assert problems(tmp_path, texts, lambda vectors: None) == []
    store = TeacherStore.open(tmp_path / "store")
    path = store.shard_path("dummy", 4)
    path.write_bytes(store.shard_path("dummy", 2).read_bytes())
    found = verify(TeacherStore.open(tmp_path / "store"), texts)
    assert [(problem.shard, problem.kind) for problem in found] == [(4, "file")]


TEACHER = dummy(max_tokens=32, prompts={"question": "query: "})


@pytest.mark.parametrize(
    ("one", "other", "explained"),
    [
        ("Hello  World", "hello\nworld", True),
        ("naïve café", "NAIVE CAFE", True),
        ("ﬁne ２０", "fine 20", True),
        ("one two three", "three one two", True),
        ("one two", "one two two", False),
        ("query: one two", "one two", False),
        ("river", "stone", False),
        ("", "!", False),
        ("a" * 40 + " one", "a" * 40 + " other", True),
        ("a" * 20 + " one", "a" * 20 + " other", False),
        ("A" * 40 + " one", "a" * 40 + " other", True),
    ],
)
def test_what_explains_that_vectors_are_equal(one: str, other: str, explained: bool) -> None:
    assert explains(one, other, TEACHER) is explained
    assert explains(other, one, TEACHER) is explained
    assert isinstance(TEACHER, TeacherConfig)


@pytest.mark.parametrize("dtype", ["<f2", "i1"])
@pytest.mark.parametrize("columns", [1, 2, 7, 16, 33])
def test_equal_rows_have_equal_hashes_and_others_do_not(dtype: str, columns: int) -> None:
    rng = np.random.default_rng(columns)
    content = rng.integers(0, 100, (256, columns)).astype(dtype)
    content[200], content[77] = content[9], content[10]
    _, first, counts = np.unique(content, axis=0, return_index=True, return_counts=True)
    hashes = RowHashes()
    hashes.add(1000, content[:128])
    hashes.add(1128, content[128:])
    groups, total = hashes.groups()
    assert total == counts[counts > 1].sum()
    assert sorted(min(group) for group in groups) == sorted(1000 + first[counts > 1])
    assert len(hashes) == 256


def test_signs_alone_make_other_hashes() -> None:
    """A product's lower bits do not see the sign bits of a word's upper half."""
    signs = np.unpackbits(np.arange(2**12, dtype=">u2").view(np.uint8).reshape(-1, 2), axis=1)
    rows = (signs[:, -12:] * 2.0 - 1).astype("<f2")
    hashes = RowHashes()
    hashes.add(0, rows)
    assert hashes.groups() == ([], 0)
