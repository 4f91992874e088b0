"""Reading ahead gives what reading gives, in order, and ends when its user does."""

import threading

import numpy as np
import pytest

from data_prep.errors import PipeError
from teacher_cache.read_ahead import read_ahead
from teacher_cache.store import TeacherStore


def batches(count: int, rows: int, size: int = 20) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, rows, size) for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, 3, 50])
@pytest.mark.parametrize(("ahead", "expected"), [(0, 1), (2, 4), (5, 64)])
def test_it_gives_what_reading_gives(
    store: TeacherStore, count: int, ahead: int, expected: int
) -> None:
    wanted = batches(count, store.layout.rows)
    found = list(read_ahead(store, wanted, ["wide"], [1.0], ahead=ahead, expected=expected))
    assert len(found) == count
    for (rows, targets), asked in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(rows, asked)
        np.testing.assert_array_equal(targets, store.read(asked, ["wide"]))


def test_an_error_comes_in_its_place(store: TeacherStore) -> None:
    wanted = batches(5, store.layout.rows)
    wanted[3] = np.array([0, 10**6])
    stream = read_ahead(store, wanted, expected=1)
    for asked in wanted[:3]:
        np.testing.assert_array_equal(next(stream)[0], asked)
    with pytest.raises(PipeError, match="row 1000000"):
        next(stream)


def test_no_thread_outlives_its_user(store: TeacherStore) -> None:
    stream = read_ahead(store, batches(50, store.layout.rows))
    next(stream)
    assert any("read-ahead" in thread.name for thread in threading.enumerate())
    stream.close()
    assert not any("read-ahead" in thread.name for thread in threading.enumerate())
