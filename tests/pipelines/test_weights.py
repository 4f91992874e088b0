"""A teacher with weight 0 is encoded and measured, and stays out of the target."""

import json

import pytest

from pipelines.results import Results
from student.model import Student
from tests.pipelines.partial_run import Partial, prepare

WITHOUT_SECOND = "--set=teachers.1.weight=0"
ONE_STAGE = ("--stage", "1")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def subset(prepared, tmp_path_factory):
    """A run trained without the teacher `second`, of which only the held-out rows came."""
    recipe, corpus = prepared
    run = Partial(tmp_path_factory.mktemp("subset") / "run", recipe, corpus)
    run.come({"dummy": list(range(run.corpus.num_shards)), "second": [0]})
    run.distill(*ONE_STAGE, WITHOUT_SECOND)
    return run


def test_it_is_the_same_as_a_recipe_that_does_not_name_the_teacher(subset, prepared, tmp_path):
    recipe, corpus = prepared
    text = recipe.read_text()
    second = text.index("[[teachers]]", text.index("[[teachers]]") + 1)
    alone = tmp_path / "alone.toml"
    alone.write_text(text[:second] + text[text.index("[student]") :])
    # The store holds more teachers than the recipe names.
    run = Partial(tmp_path / "run", recipe, corpus).come()
    run.options[-1] = str(alone)
    run.distill(*ONE_STAGE)
    assert run.final(1) == subset.final(1)
    assert run.record(1) == subset.record(1)
    assert [teacher["name"] for teacher in run.record(1)["teachers"]] == ["dummy"]
    assert dict(Student.load(run.places.final(1)).named_heads())["fc1"].out_features == 24


def test_putting_the_teacher_back_is_another_stage(subset):
    code, output = subset.pipe("distill", *ONE_STAGE)
    assert code == 1
    assert "teachers.1.name changed from (absent) to" in output


def test_it_is_measured_against_the_target_of_the_others(subset):
    code, output = subset.pipe("eval", WITHOUT_SECOND)
    assert code == 0, output
    first, second = Results.read(subset.directory / "eval" / "results.json").comparison["teachers"]
    assert (first["model"], second["model"]) == ("dummy", "second")
    assert first["held_out"]["cosine"] == pytest.approx(1)
    assert first["held_out"]["spearman"] == pytest.approx(1, abs=1e-4)
    assert -1 < second["held_out"]["spearman"] < 1

    code, output = subset.pipe("export", WITHOUT_SECOND, "--to", str(subset.directory / "model"))
    assert code == 0, output
    card = (subset.directory / "model" / "README.md").read_text()
    assert "distilled from dummy, after" in card
    assert "the teacher second" not in card


def test_it_need_not_have_vectors_and_no_cosine_of_its_own_width(prepared, tmp_path):
    recipe, corpus = prepared
    run = Partial(tmp_path / "run", recipe, corpus)
    run.come({"dummy": [1], "second": list(range(run.corpus.num_shards))})
    without_first = "--set=teachers.0.weight=0"
    run.distill(*ONE_STAGE, without_first, "--set=stages.0.steps=1")
    code, output = run.pipe("eval", without_first)
    assert code == 0, output
    assert "lacks held-out rows of teacher dummy" in output
    teachers = Results.read(run.directory / "eval" / "results.json").comparison["teachers"]
    assert [teacher["model"] for teacher in teachers] == ["second", "dummy"]
    assert teachers[1]["held_out"] is None


def test_a_teacher_as_wide_as_the_target_and_not_in_it_has_no_cosine(prepared, tmp_path):
    recipe, corpus = prepared
    same = tmp_path / "same.toml"
    same.write_text(recipe.read_text().replace("dim = 8", "dim = 24"))
    run = Partial(tmp_path / "run", same, corpus).come()
    run.distill(*ONE_STAGE, WITHOUT_SECOND, "--set=stages.0.steps=1")
    code, output = run.pipe("eval", WITHOUT_SECOND)
    assert code == 0, output
    first, second = Results.read(run.directory / "eval" / "results.json").comparison["teachers"]
    assert first["held_out"]["cosine"] == pytest.approx(1)
    assert second["held_out"]["cosine"] is None
    assert second["held_out"]["dim"] == 24


def test_the_plan_stores_every_teacher_and_says_which_are_in_the_target(subset):
    code, output = subset.pipe("plan", WITHOUT_SECOND, "--json")
    assert code == 0, output
    plan = json.loads(output)
    assert plan["target_width"] == 24
    assert plan["store_bytes"] == plan["rows"] * (24 + 8) * 2
    assert [teacher["weight"] for teacher in plan["teachers"]] == [3, 0]
    assert "second: 8-d, not in the target" in subset.pipe("plan", WITHOUT_SECOND)[1]


def test_no_teacher_in_the_target(subset):
    code, output = subset.pipe("plan", WITHOUT_SECOND, "--set=teachers.0.weight=0")
    assert code == 2
    assert "every teacher has weight 0" in output
    assert subset.pipe("plan", "--set=teachers.0.weight=-1")[0] == 2
