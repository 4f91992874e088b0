"""What cannot be trained is refused in a sentence, before a step is taken."""

import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from data_prep.errors import PipeError
from pipelines.distill import distill as train
from pipelines.run import Run
from student.order import TrainingOrder
from student.places import Places, mark_whole
from student.ranks import Ranks
from tests.pipelines.partial_run import Partial, prepare

STAGE_1 = ("--stage", "1")
SAME = np.zeros(16, np.int64)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def run(prepared, tmp_path):
    return Partial(tmp_path / "run", *prepared).come()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("stages.0.batch_size=1", "greater than 1"),
        ("student.heads.fc1=33", "compares head fc1 (33 wide) by cosine with a target 32 wide"),
        ("stages.0.heads.fc1=[]", "head fc1 has the losses []"),
        ("stages.0.batch_size=100000", "lower the stage's batch_size"),
    ],
)
def test_a_recipe_that_cannot_be_trained(run, change, sentence):
    code, output = run.pipe("distill", *STAGE_1, f"--set={change}")
    assert code
    assert sentence in output
    assert not Places(run.directory / "student").identity(1).exists()


def test_rows_that_nobody_has_committed(run):
    (run.directory / "store" / "commits" / "dummy" / "00001.json").unlink()
    code, output = run.pipe("distill", *STAGE_1)
    assert code == 1
    assert "the store lacks 1 shards of teacher dummy (1)" in output


def test_a_head_that_is_wider_than_the_target_keeps_similarities(run):
    wide = ("--set=student.heads.fc2=40", '--set=stages.0.trainable=["heads.*"]')
    losses = '--set=stages.0.heads={fc1=["cosine"], fc2=["similarity", "relative_similarity"]}'
    code, output = run.pipe("distill", *STAGE_1, *wide, losses)
    assert code == 0, output


@pytest.mark.parametrize("file", ["weights.safetensors", "moments.safetensors"])
def test_a_checkpoint_of_another_student(run, file):
    code, output = run.pipe("distill", *STAGE_1)
    assert code == 0, output
    places = Places(run.directory / "student")
    shutil.rmtree(places.final(1))
    for path in places.checkpoints(1).glob("checkpoint-*"):
        tensors = load_file(path / file)
        tensors["heads.other.weight"] = tensors.pop(next(iter(tensors)))
        save_file(tensors, path / file)
        (path / "complete.json").unlink()
        mark_whole(path)
    code, output = run.pipe("distill", *STAGE_1)
    assert code == 1
    assert f"{file} does not hold the" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([], "a batch of 16 texts for 40 processes, expected at least 1 for each"),
        (["losses.scope=rank"], "a batch of 16 texts for 40 processes, expected at least 2"),
    ],
)
def test_more_processes_than_texts(run, changes, sentence):
    opened = Run.open(run.directory, str(run.options[-1]), changes)
    with pytest.raises(PipeError, match=sentence):
        train(opened, 1, ranks=Ranks(0, 40))


def test_a_batch_of_identical_texts_trains(run, monkeypatch):
    """All similarities tie: nothing to rank, and no number that is not finite."""
    monkeypatch.setattr(TrainingOrder, "batch", lambda order, step: order.rows.take(SAME))
    code, output = run.pipe("distill", *STAGE_1)
    assert code == 0, output
    metrics = Places(run.directory / "student").metrics(1).read_text()
    assert "NaN" not in metrics
    assert '"fc1/relative_similarity": 0.0' in metrics
