"""Held-out agreement and the speed measurement."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from student.evaluation.compared_agreement import gained_agreement, kept_agreement
from student.evaluation.heldout import MEASURES, HeadAgreement, held_out_agreement
from student.evaluation.intervals import Estimate
from student.evaluation.speed import texts_per_second


def unit_rows(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rotation(dim: int) -> np.ndarray:
    matrix = np.random.default_rng(1).normal(size=(dim, dim))
    return np.linalg.qr(matrix)[0].astype(np.float32)


def test_target_agrees_with_itself_at_any_length() -> None:
    target = unit_rows(50, 16)
    (same,) = held_out_agreement(target, {"fc1": 3 * target}).heads
    assert same.cosine == pytest.approx(1, abs=1e-6)
    assert same.spearman == pytest.approx(1, abs=1e-6)
    assert same.kendall == pytest.approx(1, abs=1e-3)


def test_rotation_keeps_pairs_and_loses_the_cosine() -> None:
    target = unit_rows(60, 16)
    (turned,) = held_out_agreement(target, {"fc1": target @ rotation(16)}).heads
    assert turned.spearman > 0.9999
    assert turned.cosine is not None
    assert turned.cosine < 0.5


def test_head_of_another_width_has_pairs_and_no_cosine() -> None:
    target = unit_rows(60, 16)
    wider = np.pad(target, ((0, 0), (0, 8)))
    (head,) = held_out_agreement(target, {"fc2": wider}).heads
    assert (head.head, head.dim, head.cosine) == ("fc2", 24, None)
    assert head.spearman > 0.9999


def test_strangers_do_not_agree() -> None:
    (head,) = held_out_agreement(unit_rows(300, 16), {"fc1": unit_rows(300, 16, seed=9)}).heads
    assert abs(head.spearman) < 0.05
    assert abs(head.kendall) < 0.05


def test_agreement_is_that_of_a_naive_loop() -> None:
    target, vectors = unit_rows(12, 8), unit_rows(12, 5, seed=4)
    pairs = [(i, j) for i in range(12) for j in range(i + 1, 12)]
    ours = [float(vectors[i] @ vectors[j]) for i, j in pairs]
    theirs = [float(target[i] @ target[j]) for i, j in pairs]
    result = held_out_agreement(target, {"fc2": vectors})
    assert result.pairs == len(pairs)
    signs = [
        np.sign(ours[a] - ours[b]) * np.sign(theirs[a] - theirs[b])
        for a in range(len(pairs))
        for b in range(a)
    ]
    assert result.heads[0].kendall == pytest.approx(np.mean(signs), abs=1e-9)
    ranks = np.argsort(np.argsort(ours)), np.argsort(np.argsort(theirs))
    assert result.heads[0].spearman == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-9)


def test_pairs_come_from_the_first_spans_and_the_cosine_from_all() -> None:
    target = unit_rows(40, 16)
    vectors = target.copy()
    vectors[20:] = -target[20:]
    result = held_out_agreement(target, {"fc1": vectors}, max_spans=20)
    assert (result.spans, result.pairs) == (40, 190)
    assert result.heads[0].spearman == pytest.approx(1, abs=1e-6)
    assert result.heads[0].cosine == pytest.approx(0, abs=1e-6)


def test_intervals_hold_the_figures_and_are_paired() -> None:
    target = unit_rows(80, 16)
    noise = unit_rows(80, 16, seed=5)
    vectors = {"fc1": target + 0.8 * noise, "same": target + 0.8 * noise, "worse": target + noise}
    one, same, worse = held_out_agreement(target, vectors, intervals=True).heads
    plain = held_out_agreement(target, vectors).heads[0]
    for name in MEASURES:
        assert plain.measure(name) == Estimate(getattr(one, name))
        within = one.measure(name)
        assert within is not None
        assert within.over == "spans"
        assert -1 < within.low < within.value < within.high < 1
        assert kept_agreement(one, same)[name] == Estimate(100, 100, 100, "spans")
        assert gained_agreement(one, same)[name] == Estimate(0, 0, 0, "spans")
        gained = gained_agreement(one, worse)[name]
        other = worse.measure(name)
        assert 0 < gained.low < gained.high
        assert gained.high - gained.low < (within.high - within.low + other.high - other.low) / 2
    assert set(one.as_dict()["intervals"]) == set(MEASURES)
    assert set(one.without_cosine().as_dict()["intervals"]) == {"spearman", "kendall"}
    assert kept_agreement(one, None) == gained_agreement(None, one) == {}


def test_the_share_of_an_agreement_that_may_be_none_has_no_interval() -> None:
    target = unit_rows(40, 16)
    vectors = {"fc1": target + unit_rows(40, 16, 1), "stranger": unit_rows(40, 16, 2)}
    one, stranger = held_out_agreement(target, vectors, intervals=True).heads
    assert stranger.measure("spearman").low < 0
    assert all(kept.low is None for kept in kept_agreement(one, stranger).values())
    assert gained_agreement(one, stranger)["spearman"].low is not None


def test_an_interval_ends_where_a_correlation_does() -> None:
    target = unit_rows(4, 8)
    (one,) = held_out_agreement(target, {"fc1": target + 0.7 * unit_rows(4, 8, 1)}, 4, True).heads
    assert one.measure("spearman").high == 1


def test_standard_errors_are_the_spread_of_the_figures_over_samples() -> None:
    """Neither too small (pairs taken as independent) nor too wide (spans resampled, left out)."""
    found, errors, within = [], [], []
    for seed in range(300):
        target = unit_rows(40, 8, 3 * seed)
        vectors = {
            "fc1": target + 0.7 * unit_rows(40, 8, 3 * seed + 1),
            "fc2": target + 0.9 * unit_rows(40, 8, 3 * seed + 2),
        }
        one, other = held_out_agreement(target, vectors, intervals=True).heads
        kept, gained = kept_agreement(other, one), gained_agreement(one, other)
        known = [by[name] for name in MEASURES for by in (own(one), kept, gained)]
        found.append([each.value for each in known])
        errors.append([(each.high - each.low) / 2 / stats.t.ppf(0.975, 39) for each in known])
        within.append([(each.low, each.high) for each in known])
    ratios = np.mean(errors, axis=0) / np.std(found, axis=0, ddof=1)
    assert np.all((ratios > 0.85) & (ratios < 1.1)), ratios
    truth, ends = np.mean(found, axis=0)[:, None], np.moveaxis(np.array(within), 0, 1)
    covered = np.mean((ends[..., 0] <= truth) & (truth <= ends[..., 1]), axis=1)
    assert np.all((covered > 0.9) & (covered < 0.99)), covered


def own(head: HeadAgreement) -> dict[str, Estimate]:
    return {name: head.measure(name) for name in MEASURES}


def test_wrong_row_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="head fc1 has 9 rows"):
        held_out_agreement(unit_rows(10, 4), {"fc1": unit_rows(9, 4)})
    with pytest.raises(ValueError, match="at least 3"):
        held_out_agreement(unit_rows(2, 4), {})


def test_speed_is_texts_over_the_median_of_alternating_rounds() -> None:
    now = 0.0
    calls: list[str] = []
    costs = {"slow": iter([9.0, 2.0, 90.0, 4.0]), "fast": iter([9.0, 1.0, 1.0, 50.0])}

    def model(name: str) -> object:
        def embed(texts: Sequence[str], roles: Sequence[str]) -> np.ndarray:
            nonlocal now
            now += next(costs[name])
            calls.append(name)
            return np.zeros((len(texts), 2), dtype=np.float32)

        return embed

    candidates = {"slow": model("slow"), "fast": model("fast")}
    rates = texts_per_second(candidates, ["a"] * 8, ["passage"] * 8, clock=lambda: now)
    assert rates == {"slow": 2.0, "fast": 8.0}
    assert calls[2:] == ["slow", "fast"] * 3
