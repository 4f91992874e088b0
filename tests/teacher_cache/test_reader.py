"""Reading: equal to the naive way, whatever rows are asked for."""

import math
import pickle

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from teacher_cache.storage import widen
from teacher_cache.store import TeacherStore
from teacher_cache.target import target_scales
from tests.teacher_cache.small import dummy


def naive(store: TeacherStore, rows: list[int], weights: dict[str, float]) -> np.ndarray:
    """Row by row with plain zarr: normalised, weighted, side by side."""
    group = zarr.open_group(store.directory / "vectors.zarr", mode="r")
    total = sum(weights.values())
    return np.array(
        [
            np.concatenate(
                [
                    group[name][row].astype(np.float32) * math.sqrt(weight / total)
                    for name, weight in weights.items()
                ]
            )
            for row in rows
        ]
    )


def test_widening_is_numpys_conversion_for_every_finite_half() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    out = np.empty(halves.shape, np.float32)
    for scale in (1.0, math.sqrt(0.5), math.sqrt(0.3)):
        widen(halves, scale, out)
        np.testing.assert_array_equal(out, halves.astype(np.float32) * np.float32(scale))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(rows=st.lists(st.integers(0, 169), max_size=12))
def test_read_is_the_naive_concatenation(store: TeacherStore, rows: list[int]) -> None:
    found = store.read(np.array(rows, np.int64))
    assert found.shape == (len(rows), 40)
    assert found.dtype == np.float32
    if rows:
        expected = naive(store, rows, {"narrow": 1.0, "wide": 1.0})
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "rows", [np.arange(170), np.arange(60, 70), np.arange(169, -1, -1), np.tile([5, 100], 200)]
)
def test_long_reads_in_any_order(store: TeacherStore, rows: np.ndarray) -> None:
    everything = naive(store, list(range(170)), {"narrow": 1.0, "wide": 1.0})
    np.testing.assert_allclose(store.read(rows), everything[rows], rtol=1e-6, atol=1e-9)
    narrow = zarr.open_array(store.directory / "vectors.zarr" / "narrow", mode="r")[:]
    np.testing.assert_array_equal(store.read_teacher("narrow", rows), narrow[rows])


def test_teachers_and_weights_are_chosen_when_reading(store: TeacherStore) -> None:
    rows = np.array([169, 3, 64])
    found = store.read(rows, teachers=["wide", "narrow"], weights=[3.0, 1.0])
    expected = naive(store, rows.tolist(), {"wide": 3.0, "narrow": 1.0})
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    alone = store.read(rows, teachers=["wide"])
    np.testing.assert_array_equal(alone, store.read_teacher("wide", rows).astype(np.float32))


def test_a_target_is_a_unit_vector_and_mixes_similarities(store: TeacherStore) -> None:
    rows = np.arange(170)
    targets = store.read(rows, ["narrow", "wide"], [1.0, 3.0])
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1.0, atol=1e-3)
    narrow = store.read_teacher("narrow", rows).astype(np.float64)
    wide = store.read_teacher("wide", rows).astype(np.float64)
    mixed = (narrow @ narrow.T + 3 * wide @ wide.T) / 4
    np.testing.assert_allclose(targets @ targets.T, mixed, atol=1e-5)


@pytest.mark.parametrize("weights", [[], [1.0], [1.0, 0.0], [1.0, math.nan], [1.0, 1.0, 1.0]])
def test_weights_that_do_not_fit_are_refused(weights: list[float]) -> None:
    with pytest.raises(PipeError, match="a positive weight for each"):
        target_scales(2, weights)


def test_only_committed_rows_exist(store: TeacherStore) -> None:
    (store.directory / "commits" / "wide" / "00001.json").unlink()
    reopened = TeacherStore.open(store.directory)
    assert reopened.missing("wide") == [1]
    reopened.read(np.array([0, 169]))
    with pytest.raises(PipeError, match=r"no vectors of wide for rows 64 to 127 .*pipe teach"):
        reopened.read(np.array([0, 64]))
    np.testing.assert_array_equal(
        reopened.read_teacher("narrow", np.arange(64, 128)).shape, (64, 16)
    )


def test_rows_outside_the_corpus_are_refused(store: TeacherStore) -> None:
    for row in (-1, 170):
        with pytest.raises(PipeError, match=f"found row {row}, expected 0 to 169"):
            store.read(np.array([row]))


def test_an_unknown_teacher_is_refused_by_name(store: TeacherStore) -> None:
    with pytest.raises(PipeError, match=r"'large' .*narrow, wide"):
        store.read(np.array([0]), teachers=["large"])


def test_a_reader_sees_what_another_process_adds_later(
    store: TeacherStore, corpus: Corpus, units: np.ndarray
) -> None:
    other = TeacherStore.open(store.directory, corpus)
    other.add_teacher(dummy("late"))
    other.write_shard("late", 0, units, corpus.text_digest(0))
    assert store.committed("late") == {0}
    np.testing.assert_array_equal(
        store.read_teacher("late", np.arange(64)), units.astype(np.float16)
    )


def test_many_shards_are_read_with_few_files_open(
    store: TeacherStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teacher_cache.shard_source.MOST_MAPPED", 1)
    rows = np.random.default_rng(0).permutation(170)
    small = store.read(rows)
    monkeypatch.undo()
    np.testing.assert_array_equal(small, TeacherStore.open(store.directory).read(rows))


def test_a_store_can_be_handed_to_a_worker_process(store: TeacherStore) -> None:
    rows = np.array([3, 100, 169])
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.read(rows), store.read(rows))
