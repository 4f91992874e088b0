"""Every storage gives back unit vectors close to those written, and refuses what is none."""

import numpy as np
import pytest

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache.linear_head import LinearHead
from teacher_cache.manifest import TeacherEntry
from teacher_cache.packing import check_rows
from teacher_cache.storage import FactoredStorage, Float16Storage, Int8Storage
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from tests.teacher_cache.small import dummy

RNG = np.random.default_rng(5)


def units(rows: int, dim: int) -> np.ndarray:
    vectors = RNG.standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def head(dim: int = 64, state_dim: int = 24, *, bias: bool = True) -> LinearHead:
    weight = RNG.standard_normal((dim, state_dim)).astype(np.float32)
    return LinearHead(weight, RNG.standard_normal(dim).astype(np.float32) if bias else None)


def restored(storage, stored: np.ndarray, dim: int, scale: float = 1.0) -> np.ndarray:
    out = np.empty((len(stored), 2 * dim), np.float32)[:, dim:]  # as it is used: with a stride
    storage.unpack(stored, scale, out)
    return out


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / norms


def test_float16_keeps_half_precision() -> None:
    vectors, storage = units(50, 300), Float16Storage(300)
    stored = storage.pack(vectors * 1.005)
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, storage.pack(vectors.astype(np.float32)))
    np.testing.assert_array_equal(restored(storage, stored, 300), stored.astype(np.float32))


@pytest.mark.parametrize("dim", [3, 64, 1000, 4096])
def test_int8_takes_half_the_bytes_and_stays_close(dim: int) -> None:
    vectors, storage = units(50, dim), Int8Storage(dim)
    stored = storage.pack(vectors)
    assert stored.shape == (50, dim + 4)
    assert stored.dtype == np.int8
    assert storage.unsound(stored).size == 0
    back = restored(storage, stored, dim, scale=0.5)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 0.5, rtol=1e-6)
    # The step is a 127th of the largest number, so the error's norm is at most half of that
    # times sqrt(dim).
    error = np.abs(vectors).max(axis=1) / 127 / 2 * np.sqrt(dim)
    assert (cosines(vectors, back) >= 1 - error**2).all()
    assert cosines(vectors, back).min() > 0.9999


@pytest.mark.parametrize("bias", [True, False])
def test_factored_gives_the_vectors_of_the_last_layer(bias: bool) -> None:
    layer = head(bias=bias)
    storage = FactoredStorage(layer)
    states = (30 * RNG.standard_normal((50, 24))).astype(np.float32)
    stored = storage.pack(states)
    assert stored.shape == (50, 24)
    back = restored(storage, stored, 64, scale=0.25)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 0.25, rtol=1e-5)
    assert cosines(back, layer.apply(states)).min() > 1 - 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, 70000.0])
@pytest.mark.parametrize("storage", [Float16Storage(24), Int8Storage(24), FactoredStorage(head())])
def test_rows_that_are_no_vectors_are_refused(storage, bad: float) -> None:
    given = units(5, 24)
    given[3, 2] = bad
    entry = TeacherEntry.of(dummy(dim=24))
    with pytest.raises(PipeError, match="vector of row 13 from dummy"):
        check_rows(storage, given, range(10, 15), entry)


@pytest.mark.parametrize("storage", [Float16Storage(24), Int8Storage(24), FactoredStorage(head())])
def test_a_zero_row_is_refused(storage) -> None:
    given = units(5, 24)
    given[4] = 0
    with pytest.raises(PipeError, match="vector of row 4 from dummy"):
        check_rows(storage, given, range(5), TeacherEntry.of(dummy(dim=24)))


@pytest.mark.parametrize("name", ["int8", "factored"])
def test_a_store_reads_and_verifies_them_beside_float16(
    corpus: Corpus, tmp_path, name: str
) -> None:
    plain, other = dummy("plain", 16), dummy("other", 64, storage=name)
    layer = head()
    store = TeacherStore.create(tmp_path / "store", corpus)
    store.add_teacher(plain)
    store.add_teacher(other, layer if name == "factored" else None)
    halves, states = units(corpus.rows, 16), units(corpus.rows, 24)
    vectors = layer.apply(states)
    for shard in range(corpus.num_shards):
        rows = corpus.shard_range(shard)
        digest = corpus.text_digest(shard)
        store.write_shard("plain", shard, halves[rows.start : rows.stop], digest)
        given = states if name == "factored" else vectors
        store.write_shard("other", shard, given[rows.start : rows.stop], digest)
    reopened = TeacherStore.open(store.directory, corpus)
    assert verify(reopened, corpus) == []
    rows = RNG.integers(0, corpus.rows, 40)
    target = reopened.read(rows, ["other", "plain"])
    np.testing.assert_allclose(np.linalg.norm(target, axis=1), 1, rtol=1e-3)
    assert cosines(target[:, :64], vectors[rows]).min() > 0.9999
    assert cosines(target[:, 64:], halves[rows]).min() > 0.99999
    assert reopened.read_stored("other", rows).shape == (40, 68 if name == "int8" else 24)
    if name == "factored":
        found = reopened.read_states("other", rows)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, states[rows].astype(np.float16))
    for without in {"plain", "other"} - ({"other"} if name == "factored" else set()):
        with pytest.raises(PipeError, match="which alone keeps pooled states"):
            reopened.read_states(without, rows)
    # Adding it again changes nothing and needs no layer.
    assert reopened.add_teacher(other) == store.entry("other")


def test_another_last_layer_is_another_teacher(corpus: Corpus, tmp_path) -> None:
    teacher = dummy(dim=64, storage="factored")
    store = TeacherStore.create(tmp_path / "store", corpus)
    with pytest.raises(PipeError, match="needs its last layer"):
        store.add_teacher(teacher)
    layer = head()
    store.add_teacher(teacher, layer)
    store.add_teacher(teacher, layer)
    with pytest.raises(PipeError, match="the weights of its last layer"):
        store.add_teacher(teacher, head())
    with pytest.raises(PipeError, match="storage"):
        store.add_teacher(dummy(dim=64))


def test_a_changed_last_layer_is_refused(corpus: Corpus, tmp_path) -> None:
    store = TeacherStore.create(tmp_path / "store", corpus)
    store.add_teacher(dummy(dim=64, storage="factored"), head())
    path = store.directory / "heads" / "dummy.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(PipeError, match="has changed since it was written"):
        TeacherStore.open(store.directory, corpus)
    path.unlink()
    with pytest.raises(PipeError, match="is missing"):
        TeacherStore.open(store.directory, corpus).storage("dummy")
