"""kill -9 in the middle, then the same command: everything is as if nothing had happened."""

import json
import signal
import time
from pathlib import Path

import pytest

from student.places import Places
from tests.killed import killed
from tests.pipelines.tiny_run import pipe
from tests.warm import WarmProcess

STAGES = (1, 2, 3)
# A recipe, what to change in it, and the steps of a stage.
TINY = ("tiny", [], 60)
LAPTOP = (
    "laptop",
    [
        "corpus.texts=1500",
        "corpus.rows_per_shard=256",
        "corpus.sources.0.max_documents=3000",
        *(f"stages.{stage - 1}.{key}=2" for stage in STAGES for key in ("log_every", "save_every")),
        "pairs.pairs=300",
        "stages.3.steps=4",
        "stages.3.evaluate_every=0",
    ],
    12,
)


def kill_when(process: WarmProcess, condition) -> bool:
    """Kill a process at the moment a condition holds; False if it ended before."""
    deadline = time.monotonic() + 200
    while process.poll() is None:
        assert time.monotonic() < deadline
        if condition():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    return False


def losses(directory: Path, number: int) -> list[tuple[int, float, float]]:
    lines = Places(directory / "student").metrics(number).read_text().splitlines()
    metrics = map(json.loads, lines)
    return [(m["step"], m["loss"], m["grad_norm"]) for m in metrics if "loss" in m]


def contents(directory: Path, *patterns: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for pattern in patterns
        for path in sorted(directory.glob(pattern))
    }


RESULTS = ("corpus/*", "store/vectors.zarr/**/c/*/*", "student/stage-*/final/**/*.safetensors")


@pytest.fixture(scope="module", params=[TINY, pytest.param(LAPTOP, marks=pytest.mark.slow)])
def undisturbed(request, inputs, tmp_path_factory):
    """The options of a run, its steps, and its directory after it was left in peace."""
    recipe, changes, steps = request.param
    changes = [*changes, *(f"stages.{stage - 1}.steps={steps}" for stage in STAGES)]
    options = ["--recipe", str(inputs) if recipe == "tiny" else recipe]
    options += [argument for change in changes for argument in ("--set", change)]
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    for command in ("prep", "teach", "distill"):
        done = pipe(command, "--run", str(directory), *options)
        assert done.returncode == 0, done.stderr
    return options, steps, directory


def test_killed_in_prep_in_teach_and_in_every_stage(undisturbed, tmp_path):
    options, steps, clean = undisturbed
    directory = tmp_path / "run"
    options = ["--run", str(directory), *options]
    commits = directory / "store" / "commits"
    places = Places(directory / "student")
    moments = [
        ("prep", "*/corpus/*.parquet"),
        ("teach", "*/commits/*/*.json"),
        *(
            ("distill", f"{places.checkpoint(number, step)}/complete.json")
            for number, step in ((1, steps // 3), (2, steps // 2), (3, 2 * steps // 3))
        ),
    ]
    committed: dict[Path, int] = {}
    for command, moment in moments:
        # Only the process that is watched puts files in their places, however slow the machine.
        alone = ["--workers", "1"] if command == "prep" else []
        assert killed(moment, "pipelines", command, *options, *alone)
        if command == "teach":
            committed = {path: path.stat().st_mtime_ns for path in commits.glob("*/*.json")}
        if command != "distill":
            done = pipe(command, *options)
            assert done.returncode == 0, done.stderr
    assert committed
    assert all(path.stat().st_mtime_ns == when for path, when in committed.items())

    done = pipe("distill", *options)
    assert done.returncode == 0, done.stderr
    assert "from step" in done.stderr
    assert contents(directory, *RESULTS) == contents(clean, *RESULTS)
    for number in STAGES:
        assert losses(directory, number) == losses(clean, number)


def test_sigterm_says_that_the_same_command_continues(inputs, tmp_path):
    directory = tmp_path / "run"
    options = ["--recipe", str(inputs), "--run", str(directory), "--set", "stages.0.steps=100000"]
    process = WarmProcess("pipelines", "run", *options)
    deadline = time.monotonic() + 120
    while not Places(directory / "student").last_checkpoint(1):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    _, error = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "the same command continues" in error
    assert "Traceback" not in error
