"""A run whose start is in the released Jasper's format."""

import shutil

import pytest
import torch

from student.jasper_student import load_jasper
from student.model import Student
from tests.pipelines.test_images_stage import call
from tests.pipelines.tiny_run import write_inputs
from tests.student.jaspers import save_jasper

HEAD = "vector_linear_8"
STEPS = [f"stages.{stage}.{key}=5" for stage in range(3) for key in ("steps", "save_every")]


def options(*changes):
    return [argument for change in changes for argument in ("--set", change)]


@pytest.fixture(scope="module")
def first_stage(tmp_path_factory):
    """A run whose first stage is done, on heads of other names; and the whole Jasper."""
    root = tmp_path_factory.mktemp("jasper")
    jasper = save_jasper(root / "jasper")
    recipe = write_inputs(root / "inputs")
    changes = options(f"student.start={jasper}", "student.layers=[0,1]", *STEPS)
    for command in (("prep",), ("teach",), ("distill", "--stage", "1")):
        done = call(root / "run", *command, *changes, recipe=recipe)
        assert done.exit_code == 0, done.output
    whole = load_jasper(jasper)
    shutil.rmtree(jasper)
    return root / "run", whole


def test_a_head_that_comes_later_begins_with_the_checkpoints_weights(first_stage):
    """It has a loss and does not train, so the stage ends with what it began with."""
    run, whole = first_stage
    first = Student.load(run / "student" / "stage-1" / "final")
    assert list(first.heads) == ["fc1"]
    head = (f"student.heads.{HEAD}=8", f'stages.1.heads.{HEAD}=["similarity"]')
    done = call(run, "distill", "--stage", "2", *options(*head))
    assert done.exit_code == 0, done.output
    assert "new heads" not in done.output
    second = Student.load(run / "student" / "stage-2" / "final")
    assert torch.equal(second.heads[HEAD].weight, whole.heads[HEAD].weight)
    assert torch.equal(second.heads[HEAD].bias, whole.heads[HEAD].bias)


def test_a_head_that_the_checkpoint_lacks_needs_another_name(first_stage, tmp_path):
    run = shutil.copytree(first_stage[0], tmp_path / "run")
    shutil.rmtree(run / "student" / "stage-2", ignore_errors=True)
    changes = options(
        "student.heads.vector_linear_7=7", 'stages.1.heads.vector_linear_7=["similarity"]'
    )
    done = call(run, "distill", "--stage", "2", *changes)
    assert done.exit_code == 1
    assert "the head vector_linear_7 is not in" in done.output, done.output
