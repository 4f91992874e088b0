"""What cannot be trained is refused in a sentence, before a step is taken."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from data_prep.errors import PipeError
from pipelines.distill import distill as train
from pipelines.run import Run
from student.losses import LossTerms, distillation_loss
from student.model import Student
from student.order import TrainingOrder
from student.places import Places, mark_whole
from student.ranks import Ranks
from student.row_set import RowSet
from student.stage_rows import stage_order
from tests.pipelines.partial_run import Partial, prepare

STAGE_1 = ("--stage", "1")
LOSSES = ("cosine", "similarity", "relative_similarity")
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
        ("stages.0.batch_size=1", "expected more than 1"),
        ("student.heads.fc1=33", "compares head fc1 (33 wide) by cosine with a target 32 wide"),
        ("stages.0.heads.fc1=[]", "head fc1 has the losses []"),
        ("stages.0.batch_size=100000", "lower the stage's batch_size"),
        ("student.heads.fc2=100000000000", "head fc2 is 100000000000 wide"),
        ("student.heads.teachers=8", "a head is called 'teachers'"),
        ('stages.0.trainable=["text.layers[-]"]', "'text.layers[-]' matches no parameter"),
        ("stages.0.metric=loss", "a metric is for 'best'"),
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
def test_a_flipped_bit_in_a_checkpoint(run, file):
    assert run.pipe("distill", *STAGE_1)[0] == 0
    shutil.rmtree(run.places.final(1))
    path = run.places.checkpoint(1, 4) / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, output = run.pipe("distill", *STAGE_1)
    assert code == 1
    assert f"{file} is not what was written there" in output


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


def test_rows_without_numbers_are_named(run, monkeypatch):
    project = Student.project

    def broken(student, pooled_BH, head):
        vectors_BD = project(student, pooled_BH, head)
        return vectors_BD.index_fill(0, torch.tensor([3]), torch.nan)

    monkeypatch.setattr(Student, "project", broken)
    code, output = run.pipe("distill", *STAGE_1)
    assert code == 1
    assert "the loss of step 1 is nan; no numbers come from the rows " in output
    row = int(output.split("from the rows ")[1].split(".")[0])
    assert row in opened_order(run).batch(0)


def test_a_gradient_without_numbers_stops_the_stage(run, monkeypatch):
    monkeypatch.setattr(
        "student.trainer.distillation_loss",
        lambda *args: _broken_gradient(distillation_loss(*args)),
    )
    code, output = run.pipe("distill", *STAGE_1, "--set=stages.0.log_every=1")
    assert code == 1
    assert "the gradient of step 1 is nan" in output
    assert "remove the stage's directory" in output
    assert not Places(run.directory / "student").last_checkpoint(1)


def _broken_gradient(terms: LossTerms) -> LossTerms:
    # A root at 0 has an infinite slope, and 0 times that is no number.
    return replace(terms, total=terms.total + (terms.total * 0).sqrt() * 0)


def opened_order(run) -> TrainingOrder:
    recipe = Run.open(run.directory, str(run.options[-1]), []).recipe
    rows = RowSet.of_range(run.corpus.held_out_rows, run.corpus.rows)
    return stage_order(recipe.stages[0], recipe.training, 1, rows)


def test_one_process_has_nobody_to_share_with(run):
    code, output = run.pipe("distill", *STAGE_1, "--set=training.sharding=zero2")
    assert code == 0, output


def test_losses_that_weigh_nothing(run):
    code, output = run.pipe("distill", *STAGE_1, *(f"--set=losses.{name}=0" for name in LOSSES))
    assert code == 2
    assert "stages.0 has losses of weight 0 alone" in output


def test_a_name_that_torch_uses_itself(run):
    heads = '--set=stages.0.heads={fc1=["cosine"], keys=["similarity"]}'
    code, output = run.pipe("distill", *STAGE_1, "--set=student.heads.keys=8", heads)
    assert code == 1
    assert "found a head called keys" in output


def test_a_stage_does_not_begin_on_another_recipes_stage(run):
    assert run.pipe("distill", *STAGE_1)[0] == 0
    code, output = run.pipe("distill", "--stage", "2", "--set=stages.0.learning_rate=0.5")
    assert code == 1
    assert "stage 1 was begun under other settings" in output
    assert not run.places.identity(2).exists()
    # How training runs may differ by stage.
    assert run.pipe("distill", "--stage", "2", "--set=training.group_tokens=64")[0] == 0


def test_a_checkpoint_beyond_the_end(run):
    assert run.pipe("distill", *STAGE_1)[0] == 0
    shutil.rmtree(run.places.final(1))
    run.places.checkpoint(1, 4).rename(run.places.checkpoint(1, 500))
    code, output = run.pipe("distill", *STAGE_1)
    assert code == 1
    assert "checkpoint-500 in a stage of 4 steps" in output


def test_a_start_whose_tokenizer_is_not_its_own(run, tmp_path):
    recipe = Run.open(run.directory, str(run.options[-1]), []).recipe
    start = shutil.copytree(recipe.student.start, tmp_path / "start")
    vocabulary = json.loads((start / "tokenizer.json").read_text())
    vocabulary["model"]["vocab"]["the"] = 5000
    (start / "tokenizer.json").write_text(json.dumps(vocabulary))
    code, output = run.pipe("distill", *STAGE_1, f"--set=student.start={start}")
    assert code == 1
    assert "its tokenizer the token 5000" in output
    for file in start.glob("*token*"):
        file.unlink()
    code, output = run.pipe("distill", *STAGE_1, f"--set=student.start={start}")
    assert code == 1
    assert "tokenizer" in output
