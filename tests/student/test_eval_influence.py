"""Influences on rank correlations, against the change that a pair of more weight makes."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from student.evaluation.influence import Ranked, kendall_influence, spearman_influence
from student.evaluation.span_error import Influence

Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def spearman(weights: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    def ranks(values: np.ndarray) -> np.ndarray:
        below = np.heaviside(values[:, None] - values, 0.5) @ weights
        return below - weights @ below / weights.sum()

    first, second = ranks(one), ranks(other)
    own = (weights @ first**2) * (weights @ second**2)
    return float(weights @ (first * second) / np.sqrt(own))


def kendall(weights: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    first, second = (np.sign(values[:, None] - values) for values in (one, other))
    own = (weights @ first**2 @ weights) * (weights @ second**2 @ weights)
    return float(weights @ (first * second) @ weights / np.sqrt(own))


@pytest.mark.parametrize("decimals", [16, 1, 0])
@pytest.mark.parametrize(
    ("measure", "influence", "plain"),
    [
        (spearman, spearman_influence, stats.spearmanr),
        (kendall, kendall_influence, stats.kendalltau),
    ],
)
def test_influence_is_the_change_by_the_weight_of_a_pair(
    measure: Measure, influence: Callable, plain: Callable, decimals: int
) -> None:
    rng = np.random.default_rng(0)
    one = np.round(rng.normal(size=40), decimals)
    other = np.round(one + rng.normal(size=40), decimals)
    even = np.ones(40)
    assert measure(even, one, other) == pytest.approx(plain(one, other).statistic, abs=1e-12)
    slopes = [
        (measure(even + step, one, other) - measure(even - step, one, other)) / 2e-5
        for step in 1e-5 * np.eye(40)
    ]
    found = influence(Ranked(one), Ranked(other))
    np.testing.assert_allclose(found / 40, slopes, atol=1e-8)
    assert found.mean() == pytest.approx(0, abs=1e-12)


def test_one_value_alone_has_no_influence_on_an_order() -> None:
    flat, any_P = Ranked(np.zeros(6)), Ranked(np.arange(6.0))
    assert np.isnan(spearman_influence(flat, any_P)).all()
    assert np.isnan(kendall_influence(any_P, flat)).all()


def test_the_error_of_pairs_counts_those_that_share_a_span() -> None:
    spans = 7
    first, second = np.triu_indices(spans, k=1)
    values = (effect := np.arange(7.0) - 3)[first] + effect[second]
    share = [
        values[p] * values[q]
        for p in range(len(values))
        for q in range(len(values))
        if {first[p], second[p]} & {first[q], second[q]}
    ]
    error = Influence(values, spans, of_pairs=True).error()
    assert error**2 * len(values) ** 2 == pytest.approx(sum(share) * spans / (spans - 1))


def test_the_error_of_a_mean_is_the_usual_one() -> None:
    figures = np.random.default_rng(0).normal(size=30)
    error = Influence(figures - figures.mean(), 30, of_pairs=False).error()
    assert error == pytest.approx(stats.sem(figures))
