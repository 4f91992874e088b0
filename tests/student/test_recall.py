"""Recall by blocks is recall as it is defined, ties and vectors that are no numbers included."""

import tracemalloc

import numpy as np
import pytest

from student.evaluation.recall import CUTOFFS, recall


def small_whole_numbers(rows: int, seed: int) -> np.ndarray:
    """Vectors whose products are exact and often equal."""
    return np.random.default_rng(seed).integers(-2, 3, (rows, 4)).astype(np.float32)


def by_definition(queries_ND: np.ndarray, found_ND: np.ndarray) -> dict[int, float]:
    """One query after the other: the right one comes behind all that are as similar."""
    ranks = []
    for row, query_D in enumerate(queries_ND):
        scores_N = [float(query_D @ one_D) for one_D in found_ND]
        own = scores_N[row]
        behind = sum(score >= own for place, score in enumerate(scores_N) if place != row)
        ranks.append(len(found_ND) if np.isnan(own) else behind)
    return {k: sum(rank < k for rank in ranks) / len(ranks) for k in CUTOFFS}


@pytest.mark.parametrize("block", [1, 7, 59, 60, 1024])
def test_blocks_give_what_the_definition_does(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images, captions = small_whole_numbers(60, 0), small_whole_numbers(60, 1)
    captions[::3] = images[::3]
    captions[5] = np.nan
    monkeypatch.setattr("student.evaluation.recall._BLOCK", block)
    found = recall(images, captions)
    assert found.images == by_definition(captions, images)
    assert found.captions == by_definition(images, captions)
    assert 0 < found.images[1] < found.images[10] < 1


def test_vectors_that_are_all_alike_find_nothing() -> None:
    alike = np.ones((1500, 8), np.float32) / np.float32(8**0.5)
    found = recall(alike, alike)
    assert set(found.images.values()) == set(found.captions.values()) == {0.0}


def test_many_pairs_are_not_compared_all_at_once() -> None:
    rows = 6000
    vectors = np.random.default_rng(0).standard_normal((rows, 2), np.float32)
    tracemalloc.start()
    recall(vectors, vectors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows * rows * 4 / 3
