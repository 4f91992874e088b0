"""A whole run with a nested head and the losses that the paper does not have."""

import json
import tomllib

import pytest
import torch

from data_prep.errors import PipeError
from pipelines.distill import distill
from pipelines.run import Run
from student.model import Student
from tests.pipelines.tiny_run import pipe, write_inputs

CHANGES = [
    "student.nested.fc2=fc1",
    "losses.relative_ties=authors",
    'stages.0.heads.fc1=["mse"]',
    "stages.0.init=least_squares",
    "stages.2.init=least_squares",
    *(f"stages.{stage}.{key}=5" for stage in range(3) for key in ("steps", "save_every")),
]


@pytest.fixture(scope="module")
def nested_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("nested")
    recipe = write_inputs(root / "inputs")
    changes = [argument for change in CHANGES for argument in ("--set", change)]
    done = pipe("run", "--run", str(root / "run"), "--recipe", str(recipe), *changes)
    assert done.returncode == 0, done.stderr
    return root / "run"


def test_the_head_is_trained_measured_and_exported_without_weights_of_its_own(nested_run):
    student = Student.load(nested_run / "student" / "stage-3" / "final")
    assert student.nested == {"fc2": ("fc1", 12)}
    assert list(student.heads) == ["fc1"]
    pooled_BH = torch.randn(3, student.hidden)
    whole_BD, prefix_BD = (student.project(pooled_BH, head) for head in ("fc1", "fc2"))
    torch.testing.assert_close(prefix_BD, whole_BD[:, :12])
    results = json.loads((nested_run / "eval" / "results.json").read_text())
    assert {scores["dim"] for scores in results["students"]} == {32, 12}
    card = (nested_run / "export" / "README.md").read_text()
    assert "fc2 is the first 12 numbers of fc1." in card
    assert (nested_run / "export" / "2_Dense_12" / "model.safetensors").exists()


def test_every_loss_is_in_the_metrics(nested_run):
    lines = (nested_run / "student" / "stage-1" / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["fc1/mse"] > 0 for line in lines)


def test_the_run_keeps_the_settings_and_refuses_others(nested_run):
    recipe = tomllib.loads((nested_run / "recipe.toml").read_text())
    assert recipe["student"]["nested"] == {"fc2": "fc1"}
    for change in ("student.nested={}", "losses.relative_ties=strict"):
        with pytest.raises(PipeError, match="was begun under other settings"):
            distill(Run.open(nested_run, None, [change]), 3)


def test_a_nested_head_as_wide_as_its_whole_is_refused_before_anything_is_trained(nested_run):
    with pytest.raises(PipeError, match="fc2 is 32 wide and nested in fc1"):
        distill(Run.open(nested_run, None, ["student.heads.fc2=32"]), 1)
