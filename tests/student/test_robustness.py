"""Robustness against other words: exact where a model ignores them, seen where it does not."""

import numpy as np
import pytest

from student.evaluation.items import Items
from student.evaluation.items_file import read_measured, write_measured
from student.evaluation.mteb_model import filed_name
from student.evaluation.paraphrases import Wording
from student.evaluation.robustness import (
    ModelScores,
    TaskScores,
    render_robustness,
    robustness_dict,
)
from student.evaluation.shared_vectors import SharedVectors
from student.evaluation.tasks import Measured
from teacher_cache.config import Prompts

WORDING = Wording(instruction="Find.", paraphrases=("Look.", "Search."), tasks=("STS12",))


def measured(figures, items=True):
    kept = Items("mean", np.asarray(figures, float))
    return Measured(100 * kept.score, kept if items else None)


def model(tasks):
    return ModelScores("m", "<{instruction}> ", instructed=True, tasks=tasks)


def test_equal_figures_differ_by_exactly_nothing():
    same = measured(np.linspace(0, 1, 30))
    data = model({"a": TaskScores(WORDING, same, same, (same, same))}).as_dict()
    (row,) = data["tasks"]
    assert [row[key] for key in ("difference", "low", "high")] == [0, 0, 0]
    assert [data[key] for key in ("mean_difference", "low", "high")] == [0, 0, 0]


def test_differences_are_paired():
    figures = np.random.default_rng(0).uniform(size=50)
    one, lower, lowest = (measured(figures - by) for by in (0, 0.1, 0.2))
    data = model({"a": TaskScores(WORDING, one, one, (lower, lowest))}).as_dict()
    (row,) = data["tasks"]
    # The same for every item, so that no draw of items changes it.
    assert [row[key] for key in ("difference", "low", "high")] == pytest.approx([-15] * 3)
    assert row["paraphrase"] == pytest.approx(row["instruction"] - 15)
    assert [one["text"] for one in row["texts"]["paraphrases"]] == ["Look.", "Search."]


def test_the_mean_needs_items_of_all_tasks_or_many_tasks():
    good, bad = measured([1.0, 0.0, 1.0]), measured([1.0, 0.0, 1.0], items=False)
    both = {f"t{i}": TaskScores(WORDING, one, one, (one,) * 2) for i, one in enumerate((good, bad))}
    data = model(both).as_dict()
    assert [row["low"] for row in data["tasks"]] == [0, None]
    assert (data["mean_difference"], data["low"], data["over"]) == (0, None, None)
    many = {f"t{i}": TaskScores(WORDING, bad, bad, (bad,) * 2) for i in range(8)}
    assert model(many).as_dict()["over"] == "tasks"


def test_the_paper_stands_beside():
    one = measured([1.0, 0.0])
    scores = [model({"STS12": TaskScores(WORDING, one, one, (one, one))})]
    paper = robustness_dict(scores)["paper"]
    assert (paper["count"], paper["difference"]) == (53, 0.1)
    assert paper["tasks"] == [
        {"task": "STS12", "instruction": 80.3, "paraphrase": 80.4, "difference": 0.1}
    ]
    text = render_robustness(scores)
    assert "Jasper, 53 tasks (paper)" in text
    assert "+0.00 [+0.00, +0.00]" in text
    assert "no instruction" not in text
    plain = ModelScores("m", "<{instruction}>", False, {}, {"a": "no data."})
    text = render_robustness([plain])
    assert "take no instruction" in text
    assert "no data." in text


def test_a_text_behind_the_same_prompt_is_embedded_once():
    seen = []

    def prompted(prompts):
        def embed(texts, roles):
            whole = prompts.in_front_of(texts, roles)
            seen.extend(whole)
            return np.array([[float(len(text)), 1.0] for text in whole], np.float32)

        return embed

    shared = SharedVectors(prompted, most=8)
    first = shared(Prompts(question="q: "))(["a", "bb", "a"], ["passage", "question", "passage"])
    assert seen == ["a", "q: bb"]
    np.testing.assert_array_equal(first[:, 0], [1, 5, 1])
    again = shared(Prompts(question="other: "))(["a", "bb"], ["passage", "question"])
    assert seen == ["a", "q: bb", "other: bb"]
    np.testing.assert_array_equal(again[:, 0], [1, 9])
    shared(Prompts())(["ccc", "dddd"], ["passage"] * 2)  # no room for these
    shared(Prompts())(["ccc"], ["passage"])
    assert seen[3:] == ["ccc", "dddd", "ccc"]
    shared.forget()
    shared(Prompts())(["a"], ["passage"])
    assert seen[6:] == ["a"]


@pytest.mark.parametrize("gold", [None, np.array([1.0, 2.0])])
def test_what_was_measured_is_read_back(tmp_path, gold):
    path = tmp_path / "deep" / "one.json"
    assert read_measured(path) is None
    kind = "mean" if gold is None else "spearman"
    score = 37.5 if gold is None else 100.0
    write_measured(path, Measured(score, Items(kind, np.array([0.25, 0.5]), gold)))
    found = read_measured(path)
    assert (found.score, found.items.measure) == (score, kind)
    np.testing.assert_array_equal(found.items.figures_N, [0.25, 0.5])
    path.write_text("{")
    assert read_measured(path) is None


def test_results_are_filed_under_two_words():
    assert filed_name("student fc1") == "jasper-distill/student-fc1"
    assert filed_name("owner/model") == "owner/model"
    assert filed_name("/tmp/a/model") == "jasper-distill/tmp-a-model"
