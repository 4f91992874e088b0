"""Several processes on one machine, as torchrun starts them: the work of one, each shard once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from data_prep.corpus import Corpus
from pipelines.cli import cli
from teacher_cache.encoders import load_encoder
from teacher_cache.store import TeacherStore
from teacher_cache.verify import verify
from tests.pipelines.tiny_run import write_inputs
from tests.teacher_cache.tiny_models import make_stella

_COMMITTED = re.compile(r"tiny: shard (\d+) committed, \d+ of \d+ rows, \d+ rows/s, .+ left")
TEACHER = """
[[teachers]]
name = "tiny"
kind = "sentence-transformers"
model = "{model}"
dim = 32
max_tokens = 64
"""


def test_two_processes_of_torchrun_fill_one_store(tmp_path: Path) -> None:
    recipe = write_inputs(tmp_path / "inputs")
    model = make_stella(tmp_path / "model")
    head, _, rest = recipe.read_text().partition("[[teachers]]")
    rest = rest[rest.index("[student]") :]
    recipe.write_text(head + TEACHER.format(model=model) + rest)
    run = tmp_path / "run"
    prepared = CliRunner().invoke(cli, ["prep", "--recipe", str(recipe), "--run", str(run)])
    assert prepared.exit_code == 0, prepared.output
    corpus = Corpus.open(run / "corpus")
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "--", "pipelines", "teach", "--run", str(run)]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr

    store = TeacherStore.open(run / "store", corpus)
    assert store.missing("tiny") == []
    assert verify(store, corpus) == []
    # Whole lines only, and every shard from one process, once.
    said = [line for line in (done.stdout + done.stderr).splitlines() if "tiny" in line]
    assert all(line.startswith("tiny") and line.count("tiny") == 1 for line in said)
    committed = [int(found[1]) for line in said if (found := _COMMITTED.fullmatch(line))]
    assert sorted(committed) == list(range(corpus.num_shards))
    for worker in ("1/2", "2/2"):
        assert f"worker {worker}, from torchrun" in done.stderr.splitlines()
        assert any(line.startswith(f"tiny: worker {worker} is done; ") for line in said)
    rows = np.arange(corpus.rows)
    config = store.entry("tiny").config
    expected = load_encoder(config, "cpu").encode(*corpus.take(rows))
    np.testing.assert_allclose(store.read_teacher("tiny", rows), expected, atol=1e-3)
