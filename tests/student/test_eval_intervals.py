"""Bootstrap intervals: against naive resampling, and what must hold of any."""

import numpy as np
import pytest
from scipy import stats

from student.evaluation.comparison import Comparison, Scores
from student.evaluation.intervals import Estimate, gain, retention
from student.evaluation.items import Items, resampled
from student.evaluation.lines import table_lines
from student.evaluation.table import as_dict, render

GENERATOR = np.random.default_rng(0)
GOLD = GENERATOR.integers(0, 6, 200).astype(float)  # many ties


def sts(noise):
    return Items("spearman", GOLD + noise * GENERATOR.standard_normal(200), GOLD)


def scored(name, items):
    whole = {
        task: 100 * one.figures_N.mean()
        if one.gold_N is None
        else 100 * stats.spearmanr(one.figures_N, one.gold_N).statistic
        for task, one in items.items()
    }
    drawn = {task: resampled(one, task) for task, one in items.items()}
    return Scores(name, whole, resampled=drawn)


def test_resampled_spearman_is_that_of_every_resample(monkeypatch):
    monkeypatch.setattr("student.evaluation.items._COUNTS_AT_ONCE", 7 * 40)
    one = Items("spearman", np.round(GENERATOR.standard_normal(40), 1), GOLD[:40])
    found = resampled(one, "set", 20)
    monkeypatch.undo()
    np.testing.assert_array_equal(found[:7], resampled(one, "set", 7))
    shown = Items("mean", np.arange(40.0))
    order = {}
    monkeypatch.setattr(
        np, "bincount", lambda drawn, minlength: _kept(order, drawn, minlength), raising=True
    )
    resampled(one, "set", 20)
    for row, score in enumerate(found):
        picked = np.repeat(np.arange(40), order["counts"][row])
        naive = stats.spearmanr(one.figures_N[picked], one.gold_N[picked]).statistic
        assert score == pytest.approx(100 * naive)
        assert resampled(shown, "set", 20)[row] == pytest.approx(100 * picked.mean())


def _kept(order, drawn, minlength):
    counts = np.zeros(minlength, np.int64)
    np.add.at(counts, drawn, 1)
    order["counts"] = counts.reshape(-1, 40)
    return counts


def test_the_same_model_keeps_exactly_everything():
    one = scored("a", {"s": sts(1.0), "m": Items("mean", GENERATOR.random(50))})
    for kept in retention(one, one, {}).values():
        assert kept == Estimate(100.0, 100.0, 100.0, "items")
    for points in gain(one, one, {}).values():
        assert points == Estimate(0.0, 0.0, 0.0, "items")


def test_intervals_are_those_of_a_plain_bootstrap():
    """Of other draws, by scipy, with ends that differ by less than a tenth of the width."""
    one, other = sts(1.0), sts(0.5)
    generator = np.random.default_rng(7)
    ratios, points = [], []
    for _ in range(4000):
        drawn = generator.integers(200, size=200)
        ours, theirs = (
            100 * stats.spearmanr(GOLD[drawn], items.figures_N[drawn]).statistic
            for items in (one, other)
        )
        ratios.append(100 * ours / theirs)
        points.append(ours - theirs)
    models = scored("a", {"s": one}), scored("b", {"s": other})
    for found, drawn in ((retention, ratios), (gain, points)):
        estimate = found(*models, {})["s"]
        low, high = np.percentile(drawn, [2.5, 97.5])
        assert estimate.low == pytest.approx(low, abs=0.1 * (high - low))
        assert estimate.high == pytest.approx(high, abs=0.1 * (high - low))


def test_items_of_another_score_give_no_interval():
    one, other = (Items("mean", GENERATOR.random(100)) for _ in range(2))
    student, start = scored("a", {"m": one}), scored("b", {"m": other})
    assert gain(student, start, {})["m"].low is not None
    wrong = Scores("a", {"m": student.tasks["m"] + 50}, resampled=student.resampled)
    assert gain(wrong, start, {})["m"] == Estimate(wrong.tasks["m"] - start.tasks["m"])
    assert retention(wrong, start, {})["m"].low is None
    # What mteb rounds does not count.
    rounded = Scores("a", {"m": start.tasks["m"] + 0.005}, resampled=start.resampled)
    assert gain(rounded, start, {})["m"].low == 0.0


def test_an_interval_repeats():
    items = {"s": sts(1.0), "m": Items("mean", GENERATOR.random(3))}
    other = {"s": sts(0.5), "m": Items("mean", GENERATOR.random(3))}
    first = retention(scored("a", items), scored("b", other), {})
    assert all(kept.low < kept.high for kept in first.values())
    assert first == retention(scored("a", items), scored("b", other), {})


def test_more_items_make_narrower_intervals():
    def width(count):
        one = {"m": Items("mean", np.random.default_rng(1).random(count))}
        other = {"m": Items("mean", np.random.default_rng(2).random(count))}
        found = gain(scored("a", one), scored("b", other), {})["m"]
        return found.high - found.low

    assert width(1600) < width(100) / 2.5


def test_pairing_removes_what_both_share():
    hard = GENERATOR.random(300)
    one = scored("a", {"m": Items("mean", hard)})
    other = scored("b", {"m": Items("mean", hard - 0.01)})
    found = gain(one, other, {})["m"]
    assert found.high - found.low < 1e-9


def test_many_tasks_without_items_are_resampled_themselves():
    names = [f"t{i}" for i in range(12)]
    one = Scores("a", {name: 50.0 + i for i, name in enumerate(names)})
    other = Scores("b", {name: 60.0 + 2 * i for i, name in enumerate(names)})
    kept = retention(one, other, {})
    assert kept["mean"].over == "tasks"
    assert kept["mean"].low < kept["mean"].value < kept["mean"].high
    assert kept["t0"] == Estimate(kept["t0"].value)
    few = Scores("a", dict(list(one.tasks.items())[:3]))
    assert retention(few, other, {})["mean"].low is None


def test_lines_weigh_tasks():
    lines = table_lines(["a", "b", "c"], {"a": "STS", "b": "STS", "c": "Retrieval"})
    assert lines["mean by type"] == {"a": 0.25, "b": 0.25, "c": 0.5}
    assert all(sum(line.values()) == pytest.approx(1) for line in lines.values())


def test_intervals_stand_in_the_table_and_in_the_json():
    student, teacher = scored("s", {"m": sts(1.0)}), scored("t", {"m": sts(0.5)})
    comparison = Comparison((teacher,), None, (student,))
    kept = retention(student, teacher, {})["m"]
    assert f"{kept.value:.1f}% [{kept.low:.1f}, {kept.high:.1f}]" in render(comparison)
    data = as_dict(comparison)["students"][0]["retention_intervals"]["t"]["m"]
    assert data == {"value": kept.value, "low": kept.low, "high": kept.high, "over": "items"}
