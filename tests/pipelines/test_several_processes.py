"""Training in two processes: the numbers of one, resumed by any number of others."""

import shutil
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file

from student.places import Places
from tests.pipelines.test_kill import RESULTS, contents, kill_when, losses
from tests.pipelines.tiny_run import pipe
from tests.warm import WarmProcess

STAGES = (1, 2, 3)
TWO = ("--launcher", "torchrun", "--nproc", "2")
ENOUGH_TO_KILL = [f"--set=stages.{stage - 1}.steps=60" for stage in STAGES]


@pytest.fixture(scope="module")
def taught(inputs, tmp_path_factory):
    """A run whose store is full."""
    directory = tmp_path_factory.mktemp("taught") / "run"
    for command in ("prep", "teach"):
        done = pipe(command, "--run", str(directory), "--recipe", str(inputs))
        assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def copied(taught, tmp_path):
    return shutil.copytree(taught, tmp_path / "run")


def distill(directory, *arguments) -> str:
    done = pipe("distill", "--run", str(directory), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


def distill_until(directory, condition, *arguments) -> None:
    """Train until a condition holds, then kill -9 the command; its processes die with it."""
    process = WarmProcess("pipelines", "distill", "--run", str(directory), *arguments)
    children: list[psutil.Process] = []

    def now() -> bool:
        children[:] = psutil.Process(process.pid).children(recursive=True)
        return condition()

    assert kill_when(process, now)
    _, alive = psutil.wait_procs(children, timeout=120)
    assert not alive


def weights(directory) -> dict[str, torch.Tensor]:
    found = {}
    for path in sorted(directory.glob("student/stage-*/final/**/*.safetensors")):
        for name, tensor in load_file(path).items():
            found[f"{path.relative_to(directory)}/{name}"] = tensor
    return found


def assert_close(directory, other, relative=2e-4) -> None:
    one, two = weights(directory), weights(other)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], rtol=relative, atol=relative, msg=name)
    for number in STAGES:
        for (step, loss, norm), (same, close, other_norm) in zip(
            losses(directory, number), losses(other, number), strict=True
        ):
            assert step == same
            assert loss == pytest.approx(close, rel=relative)
            # Clipping and Adam hide a gradient of another scale; its norm does not.
            assert norm == pytest.approx(other_norm, rel=10 * relative)
    first, of_one = losses(directory, 1)[0], losses(other, 1)[0]
    assert first[1:] == pytest.approx(of_one[1:], rel=1e-5)


@pytest.fixture(scope="module")
def alone(taught, tmp_path_factory):
    directory = shutil.copytree(taught, tmp_path_factory.mktemp("alone") / "run")
    distill(directory, *ENOUGH_TO_KILL)
    return directory


def test_two_processes_then_one_then_two(copied, alone):
    places = Places(copied / "student")
    distill_until(copied, lambda: places.last_checkpoint(1) >= 20, *TWO, *ENOUGH_TO_KILL)
    distill_until(copied, lambda: places.last_checkpoint(2) >= 20, *ENOUGH_TO_KILL)
    said = distill(copied, *TWO, *ENOUGH_TO_KILL)
    assert "in 2 processes (zero2), from step" in said
    assert_close(copied, alone)
    whole = load_file(places.checkpoint(3, 60) / "weights.safetensors")
    assert any(name.startswith("text.") for name in whole)  # what is frozen as well


def test_an_error_is_said_once(copied):
    done = pipe("distill", "--run", str(copied), *TWO, "--set=stages.0.batch_size=1000000")
    assert done.returncode == 1
    assert done.stderr.count("lower the stage's batch_size") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["zero2", "none"])
@pytest.mark.parametrize("scope", ["global", "rank"])
def test_killed_and_resumed_bit_for_bit(copied, tmp_path, sharding, scope):
    options = [
        *TWO, *ENOUGH_TO_KILL, f"--set=training.sharding={sharding}", f"--set=losses.scope={scope}",
    ]  # fmt: skip
    clean = shutil.copytree(copied, tmp_path / "clean")
    distill(clean, *options)
    places = Places(copied / "student")
    for number in STAGES:
        distill_until(copied, lambda n=number: places.last_checkpoint(n) >= 20, *options)
    distill(copied, *options)
    assert contents(copied, RESULTS[-1]) == contents(clean, RESULTS[-1])
    for number in STAGES:
        assert losses(copied, number) == losses(clean, number)


@pytest.mark.slow
def test_the_deepspeed_launcher(copied, alone):
    distill(copied, "--launcher", "deepspeed", "--nproc", "2", *ENOUGH_TO_KILL)
    assert_close(copied, alone)


@pytest.mark.slow
def test_losses_of_a_rank_want_the_same_number_of_processes(copied):
    options = ["--stage", "1", "--set=training.batch_scope=rank"]
    distill(copied, *TWO, *options)
    shutil.rmtree(copied / "student" / "stage-1" / "final")
    done = pipe("distill", "--run", str(copied), *options)
    assert done.returncode == 1
    assert "ranks changed from 2 to 1" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_a_signal_ends_all_processes(copied, launcher):
    places = Places(copied / "student")
    process = WarmProcess(
        "pipelines", "distill", "--run", str(copied), "--nproc", "2", "--launcher", launcher,
        "--set=stages.0.steps=100000",
    )  # fmt: skip
    children: list[psutil.Process] = []
    while not places.last_checkpoint(1):
        assert process.poll() is None
        time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    _, error = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "the same command continues" in error
    if launcher == "torchrun":  # deepspeed's launcher shows how it was interrupted
        assert "Traceback" not in error
    _, alive = psutil.wait_procs(children, timeout=120)
    assert len(children) >= 2
    assert not alive
