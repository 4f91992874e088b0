"""Evaluation while training: seen everywhere, and without a trace in the weights."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import load_file

from pipelines.cli import cli
from student.evaluating import EvaluationMaterial, evaluate_student
from student.evaluation.local_tasks import make_task
from student.evaluation.sets import StsSet
from student.model import Student
from student.trainer import DistillTrainer
from tests.pipelines.tiny_run import WORDS

EVERY = "stages.0.evaluate_every=10"
BEST = (EVERY, "stages.0.select=best", "stages.0.metric=eval/fc1/spearman")
WHOLE = 'stages.0.trainable=["heads.*", "text.*"]'
# So fast that the agreement falls after the first steps.
FALLING = (WHOLE, "stages.0.learning_rate=0.05")


def weights(directory):
    return {
        f"{path.name}/{name}": array.tobytes()
        for path in directory.rglob("*.safetensors")
        for name, array in load_file(path).items()
    }


def lines(places, number=1):
    return [json.loads(line) for line in places.metrics(number).read_text().splitlines()]


def test_the_weights_are_the_same_with_and_without(distill):
    assert distill(WHOLE, "student.dropout=0.1")[0] == 0
    alone = weights(distill.places.final(1))
    plain = lines(distill.places)
    shutil.rmtree(distill.places.stage(1))
    code, output = distill(WHOLE, "student.dropout=0.1", EVERY)
    assert code == 0, output
    assert weights(distill.places.final(1)) == alone
    found = lines(distill.places)
    measured = [line for line in found if "eval/fc1/spearman" in line]
    assert [line["step"] for line in measured] == [10, 20]
    assert all({"eval/fc1/cosine", "eval/fc1/kendall"} <= line.keys() for line in measured)
    losses = [line for line in found if "loss" in line]
    assert [(line["step"], line["loss"]) for line in losses] == [
        (line["step"], line["loss"]) for line in plain
    ]
    assert "step 20/20  fc1/cosine" in output
    events = list(distill.places.tensorboard(1).glob("events.out.tfevents*"))
    assert any(b"eval/fc1/spearman" in path.read_bytes() for path in events)


def test_it_may_change_in_a_stage_that_does_not_select_by_it(distill):
    assert distill()[0] == 0
    assert distill(EVERY, "stages.0.evaluate_spans=9")[0] == 0
    code, output = distill(*BEST)
    assert code == 1
    assert "select" in output


@pytest.mark.parametrize("how", ["best", "step:5"])
def test_the_selected_weights_become_final_killed_or_not(distill, monkeypatch, how):
    select = (*FALLING, *(BEST if how == "best" else (f"stages.0.select={how}",)))
    select = (*select, "stages.0.evaluate_every=5")
    code, output = distill(*select)
    assert code == 0, output
    places = distill.places
    record = json.loads(places.selected(1).read_text())
    assert f"ends with the weights of step {record['step']}" in output
    assert not places.selected_weights(1).exists()
    if how == "best":
        curve = {
            line["step"]: line["eval/fc1/spearman"] for line in lines(places) if "loss" not in line
        }
        assert record["step"] == max(curve, key=curve.get)
        assert record["step"] < 20
    clean, final = record, weights(places.final(1))
    kept = places.checkpoint(1, 20)
    assert (
        load_file(kept / "weights.safetensors")["heads.fc1.weight"].tobytes() not in final.values()
    )

    shutil.rmtree(places.stage(1))
    step = DistillTrainer.training_step

    def killed(self, *arguments, **options):
        if self.state.global_step == 12:
            raise SystemExit(9)
        return step(self, *arguments, **options)

    monkeypatch.setattr(DistillTrainer, "training_step", killed)
    assert distill(*select)[0] == 9
    monkeypatch.undo()
    code, output = distill(*select)
    assert code == 0, output
    assert "from step 10" in output
    assert json.loads(places.selected(1).read_text()) == clean
    assert weights(places.final(1)) == final


def test_given_sets_are_measured_too(distill, tmp_path):
    (tmp_path / "sets" / "sts").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (tmp_path / "sets" / "sts" / "Words.jsonl").open("w") as file:
        for score in range(12):
            first, second = (" ".join(rng.choice(WORDS, 5)) for _ in range(2))
            pair = {"sentence1": first, "sentence2": second, "score": score}
            file.write(json.dumps(pair) + "\n")
    sets = (f"evaluation.sets={tmp_path / 'sets'}", 'stages.0.evaluate_sets=["Words"]')
    code, output = distill(EVERY, *sets)
    assert code == 0, output
    values = [line["eval/sts/Words/fc1"] for line in lines(distill.places) if "loss" not in line]
    assert len(values) == 2
    code, output = distill(EVERY, sets[0], 'stages.0.evaluate_sets=["Other"]', "student.layers=[0]")
    assert code == 1
    shutil.rmtree(distill.places.stage(1))
    code, output = distill(EVERY, sets[0], 'stages.0.evaluate_sets=["Other"]')
    assert code == 1
    assert "expected one of Words" in output
    assert distill(EVERY, 'stages.0.evaluate_sets=["Words"]')[0] == 2


def test_a_metric_that_does_not_exist_may_be_mended(distill):
    code, output = distill(EVERY, "stages.0.select=best", "stages.0.metric=eval/fc2/spearman")
    assert code == 1
    assert "eval/fc1/spearman" in output
    assert distill(*BEST)[0] == 0


def test_status_shows_the_last_line_of_metrics(distill):
    assert distill(EVERY)[0] == 0
    for path in (distill.places.final(1), distill.places.checkpoint(1, 20)):
        shutil.rmtree(path)
    run = str(distill.places.root.parent)
    last = [line for line in lines(distill.places) if "loss" in line][-1]
    done = CliRunner().invoke(cli, ["status", "--run", run, "--recipe", distill.recipe])
    assert f"loss {last['loss']:.4f} at step 20" in done.output, done.output
    done = CliRunner().invoke(cli, ["status", "--run", run, "--recipe", distill.recipe, "--json"])
    stages = [line for line in json.loads(done.stdout) if line["what"].startswith("stage")]
    assert stages[0]["metrics"] == last
    assert "metrics" not in stages[1]


def test_a_student_is_left_as_it_was(distill):
    assert distill()[0] == 0
    student = Student.load(distill.places.final(1)).train()
    before = torch.get_rng_state()
    target_NT = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    texts = ["a cat", "the dog and the sun", "sun", "moon over", "file the list"]
    material = EvaluationMaterial(texts, ["passage"] * 5, target_NT, {})
    first = evaluate_student(student, material, ["fc1"])
    assert student.training
    assert torch.equal(torch.get_rng_state(), before)
    assert evaluate_student(student, material, ["fc1"]) == first
    assert list(first) == material.metrics({"fc1": 4})


def test_the_task_of_a_set_is_made_once_and_a_lost_score_stops_nothing(distill, monkeypatch):
    assert distill()[0] == 0
    student = Student.load(distill.places.final(1))
    pairs = StsSet("s", ("a cat", "the sun", "a"), ("a dog", "moon", "a"), (1.0, 2.0, 3.0))
    material = EvaluationMaterial([], [], np.empty((0, 0), np.float32), {"sts/s": pairs})
    made = []
    monkeypatch.setattr(
        "student.evaluation.local_tasks.make_task",
        lambda data, make=make_task: made.append(data) or make(data),
    )
    first = evaluate_student(student, material, ["fc1"])
    assert evaluate_student(student, material, ["fc1"]) == first
    assert made == [pairs]
    with torch.no_grad():
        for parameter in student.heads.parameters():
            parameter.zero_()
        student.heads["fc1"].bias.fill_(1.0)
    assert np.isnan(evaluate_student(student, material, ["fc1"])["eval/sts/s/fc1"])


def test_status_tells_a_stage_that_runs_from_one_that_stopped(distill):
    assert distill(EVERY)[0] == 0
    for path in (distill.places.final(1), distill.places.checkpoint(1, 20)):
        shutil.rmtree(path)
    command = ["status", "--run", str(distill.places.root.parent), "--recipe", distill.recipe]

    def stage():
        found = json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)
        return next(line for line in found if line["what"].startswith("stage 1"))

    metrics = distill.places.metrics(1)
    content = metrics.read_text().splitlines()
    metrics.write_text("\n".join(line for line in content if '"step": 20' not in line) + "\n")
    running = stage()
    assert running["under_way"]
    assert running["seconds_left"] == pytest.approx(5 / running["steps_per_second"])
    assert "under way: stage 1" in CliRunner().invoke(cli, command).output
    os.utime(metrics, (0, 0))
    assert not stage()["under_way"]
    said = CliRunner().invoke(cli, command).output
    assert "when it ran" in said
    assert f"by `{stage()['next']}`" in said
