"""A run that was taught, copies of it to train, and small tasks of mteb."""

import json
import sys

import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from student.evaluation.mteb_library import require_mteb
from student.places import Places
from tests.pipelines.tiny_run import write_inputs

_WORDS = ("read", "file", "write", "list", "of", "a", "path", "open")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A run with corpus and store, of which each test trains a copy."""
    root = tmp_path_factory.mktemp("taught")
    recipe = write_inputs(root / "inputs")
    for command in ("prep", "teach"):
        done = CliRunner().invoke(
            cli, [command, "--run", str(root / "run"), "--recipe", str(recipe)]
        )
        assert done.exit_code == 0, done.output
    return recipe, root / "run"


@pytest.fixture
def distill(taught, tmp_path):
    recipe, run = taught
    directory = tmp_path / "run"
    directory.mkdir()
    for part in ("corpus", "store"):
        (directory / part).symlink_to(run / part)

    def call(*sets, stage=1):
        arguments = ["distill", "--run", str(directory), "--recipe", str(recipe)]
        arguments += ["--stage", str(stage)]
        for one in sets:
            arguments += ["--set", one]
        done = CliRunner().invoke(cli, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    call.places = Places(directory / "student")
    call.recipe = str(recipe)
    return call


def _task(name, directory):
    """A task of mteb whose data set is a directory."""
    from mteb.abstasks import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    metadata = TaskMetadata(
        name=name,
        description="A stand-in.",
        dataset={"path": str(directory), "revision": "1"},
        type="STS",
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="cosine_spearman",
        prompt="Say the same.",
    )
    return type(name, (AbsTaskSTS,), {"metadata": metadata})


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """Two tasks of mteb with data and one without, and a benchmark of the two."""
    require_mteb()
    from mteb.benchmarks.benchmark import Benchmark

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    known = {}
    for number, name in enumerate(["TinyA", "TinyB"]):
        directory = tmp_path / name
        directory.mkdir()
        rows = []
        for i in range(12):
            own = [_WORDS[(i + number + j) % 8] for j in range(4)]
            other = [*own[: i % 4], *(f"other{i}{j}" for j in range(4 - i % 4))]
            pair = {"sentence1": " ".join(own), "sentence2": " ".join(other), "score": i % 4}
            rows.append(pair)
        (directory / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        known[name] = _task(name, directory)
    known["TinyAbsent"] = _task("TinyAbsent", tmp_path / "absent")
    registry = sys.modules["mteb.get_tasks"]._TASKS_REGISTRY
    for name, one in known.items():
        monkeypatch.setitem(registry, name, one)
    benchmarks = sys.modules["mteb.benchmarks.get_benchmark"]._build_registry()
    whole = Benchmark(name="Tiny(eng)", tasks=[known["TinyA"](), known["TinyB"]()])
    monkeypatch.setitem(benchmarks, whole.name, whole)
    return known
