"""A stage that trains adapters: resumed as if nothing had happened, and plain when it ends."""

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from pipelines.cli import cli
from student.model import Student
from student.places import Places
from tests.pipelines.tiny_run import pipe, write_inputs

LORA = (
    'stages.1.trainable=["heads.fc1"]',
    'stages.1.lora.targets=["text.layers[-1:]"]',
    "stages.1.lora.rank=4",
    "stages.1.lora.dropout=0.1",
)


def call(directory: Path, recipe: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, [*arguments, "--run", str(directory), "--recipe", str(recipe)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run whose second stage trained adapters, and its recipe."""
    root = tmp_path_factory.mktemp("lora")
    recipe, run = write_inputs(root / "inputs"), root / "run"
    for command in (["prep"], ["teach"], ["distill", "--stage", "1"], ["distill", "--stage", "2"]):
        sets = [f"--set={one}" for one in LORA]
        code, output = call(run, recipe, *command, *sets)
        assert code == 0, output
    return run, recipe


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "backbone/model.safetensors") | load_file(
        directory / "heads.safetensors"
    )


def test_what_the_stage_leaves_is_a_plain_student(trained) -> None:
    places = Places(trained[0] / "student")
    before, after = weights(places.final(1)), weights(places.final(2))
    assert before.keys() == after.keys()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert {"fc1.weight", "fc1.bias"} < moved
    linear = moved - {"fc1.weight", "fc1.bias"}
    # Two layers are kept; six linear layers of the last have adapters, and biases stay.
    assert len(linear) == 6
    assert all(name.startswith("encoder.layer.1.") and name.endswith("weight") for name in linear)
    Student.load(places.final(2))


def test_resumed_it_ends_in_the_same_weights(trained, tmp_path: Path) -> None:
    run, recipe = trained
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    places = Places(copy / "student")
    shutil.rmtree(places.final(2))
    shutil.rmtree(places.checkpoint(2, 20))
    assert places.last_checkpoint(2) == 15
    sets = [f"--set={one}" for one in LORA]
    code, output = call(copy, recipe, "distill", "--stage", "2", *sets)
    assert code == 0, output
    assert "from step 15" in output
    expected = weights(Places(run / "student").final(2))
    found = weights(places.final(2))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_another_rank_is_another_stage(trained) -> None:
    run, recipe = trained
    sets = [f"--set={one}" for one in (*LORA, "stages.1.lora.rank=5")]
    code, output = call(run, recipe, "distill", "--stage", "2", *sets)
    assert code == 1
    assert "lora.rank" in output


@pytest.mark.slow
def test_two_processes_train_the_same_adapters(trained, tmp_path: Path) -> None:
    run, recipe = trained
    sets = [f"--set={one}" for one in (*LORA, "stages.1.lora.dropout=0.0")]
    found = []
    for name, launcher in (("one", ()), ("two", ("--launcher", "torchrun", "--nproc", "2"))):
        copy = shutil.copytree(run, tmp_path / name)
        places = Places(copy / "student")
        shutil.rmtree(places.stage(2))
        done = pipe(
            "distill", "--stage", "2", "--run", str(copy), "--recipe", str(recipe), *sets, *launcher
        )
        assert done.returncode == 0, done.stderr
        assert ("in 2 processes" in done.stderr) == bool(launcher)
        found.append(weights(places.final(2)))
        # What is wrapped in the checkpoint is plain in the end.
        inside = load_file(places.checkpoint(2, 20) / "weights.safetensors")
        assert any(".lora_A." in key for key in inside)
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, rtol=2e-4, atol=2e-4, msg=key)
