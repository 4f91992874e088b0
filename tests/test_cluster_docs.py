"""The examples of the pages on clusters, run as they stand but for names and numbers."""

import re
import shutil
import subprocess
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner

from data_prep.corpus import Corpus
from pipelines.cli import cli
from teacher_cache.store import TeacherStore
from tests.doc_pages import ROOT, activated, blocks
from tests.pipelines.tiny_run import write_inputs

pytestmark = pytest.mark.slow

TEACHERS = ("dummy", "second")


def example(page: str, *holding: str) -> str:
    """The one block of a page that holds some words."""
    found = [
        b.code for b in blocks(ROOT / "docs" / page) if all(word in b.code for word in holding)
    ]
    assert len(found) == 1, holding
    return found[0]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a corpus of some shards."""
    root = tmp_path_factory.mktemp("prepared")
    recipe = write_inputs(root / "inputs")
    done = CliRunner().invoke(cli, ["prep", "--run", str(root / "r"), "--recipe", str(recipe)])
    assert done.exit_code == 0, done.output
    return root / "r"


@pytest.fixture
def follow(prepared: Path, tmp_path: Path):
    """Run lines of a shell beside a copy of the run, which is called r there."""
    shutil.copytree(prepared, tmp_path / "r")
    environ = {
        **activated(tmp_path / "bin"),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }

    def run(script: str, **variables: str) -> Path:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={**environ, **variables},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return tmp_path

    return run


def assert_full(run: Path, *teachers: str) -> None:
    corpus = Corpus.open(run / "corpus")
    store = TeacherStore.open(run / "store", corpus)
    assert corpus.num_shards > 2
    for teacher in teachers:
        assert store.missing(teacher) == []


def test_torchrun_fills_the_store(follow) -> None:
    script = example("clusters.md", "torchrun --nproc-per-node 8")
    assert_full(follow(script.replace("node 8", "node 2")) / "r", *TEACHERS)


def test_ray_on_this_machine_fills_the_store(follow) -> None:
    here, cluster = example("clusters.md", "--executor ray").splitlines()
    assert "--ray-address" in cluster
    assert_full(follow(here) / "r", *TEACHERS)


def test_a_slurm_array_fills_the_store(follow, tmp_path: Path) -> None:
    script = example("clusters.md", "#SBATCH --array=0-15")
    script = script.replace("/shared/r", "r").replace("nv-embed-v2", "second")
    srun = tmp_path / "bin" / "srun"
    srun.write_text('#!/bin/sh\nSLURM_PROCID=0 SLURM_NTASKS=1 exec "$@"\n')
    srun.chmod(0o755)
    for task in ("0", "1"):
        array = {"ID": task, "MIN": "0", "MAX": "1", "STEP": "1", "COUNT": "2"}
        follow(script, **{f"SLURM_ARRAY_TASK_{name}": value for name, value in array.items()})
    assert_full(tmp_path / "r", "second")


def test_a_store_goes_to_a_bucket_and_back_and_is_trained_from_there(follow, s3) -> None:
    lines = example("moving.md", "pipe store push", "pipe distill").splitlines()
    install, push, pull, merge, distill = lines
    assert install.startswith("pip install")
    fsspec.filesystem("s3").mkdir("bucket")
    follow("pipe teach --run r")
    there = follow(push)
    follow(pull)
    assert_full(there / "r2", *TEACHERS)
    for number in (1, 2):
        shutil.copytree(there / "r2", there / f"cluster-{number}")
    follow(merge)
    assert_full(there / "all", *TEACHERS)
    follow(distill.replace("/scratch/", "").replace("500GB", "1GB") + " --stage 1")
    assert (there / "r3" / "student" / "stage-1" / "final").is_dir()
    assert not (there / "r3" / "store").exists()


def test_two_processes_train_a_stage(follow) -> None:
    script = example("training.md", "--nproc 8", "--nnodes 2")
    first = re.sub(r" *#.*", "", script.splitlines()[0]).replace("nproc 8", "nproc 2")
    there = follow(f"pipe teach --run r\n{first} --stage 1 --set training.sharding=none")
    assert (there / "r" / "student" / "stage-1" / "final").is_dir()
