"""A whole run: what comes out of it, and that a second one has nothing to do."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from click.testing import CliRunner
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from pipelines.cli import cli
from pipelines.evaluate import evaluate
from pipelines.results import current_results
from pipelines.run import Run
from student.encode import StudentEncoder
from student.model import Student
from student.places import Places
from teacher_cache.store import TeacherStore
from tests.teacher_cache.small import rewrite


def invoke(*arguments: str):
    return CliRunner().invoke(cli, list(arguments))


def test_it_ends_with_the_table_the_path_and_a_search(finished):
    directory, output = finished
    for words in ("dummy", "second", "start", "student fc1", "student fc2", "held-out cosine"):
        assert words in output
    assert f"the student is in {directory / 'export'}" in output
    assert "search for 'read a file'" in output


def test_training_lowers_every_loss(finished):
    directory, _ = finished
    for number in (1, 2):
        lines = [
            json.loads(line)
            for line in Places(directory / "student").metrics(number).read_text().splitlines()
        ]
        assert [line["step"] for line in lines] == [5, 10, 15, 20]
        assert lines[-1]["loss"] < lines[0]["loss"]
        assert {"fc1/cosine", "fc1/similarity", "fc1/relative_similarity"} <= lines[0].keys()


def test_each_stage_moves_its_own_parts_alone(finished):
    directory, _ = finished
    places = Places(directory / "student")

    def weights(number):
        final = places.final(number)
        heads = final / "heads.safetensors"
        return load_file(final / "backbone" / "model.safetensors") | (
            load_file(heads) if heads.exists() else {}
        )

    start, first, second, third = (weights(number) for number in range(4))
    assert all(torch.equal(start[name], first[name]) for name in start)
    moved = {name for name in first if not torch.equal(first[name], second[name])}
    assert {name.split(".")[0] for name in moved} == {"encoder", "fc1"}
    assert all(name.startswith(("encoder.layer.1.", "fc1.")) for name in moved)
    assert set(third) - set(second) == {"fc2.weight", "fc2.bias"}
    assert not torch.equal(
        second["embeddings.word_embeddings.weight"], third["embeddings.word_embeddings.weight"]
    )


def test_the_export_loads_in_sentence_transformers_and_agrees(finished):
    directory, _ = finished
    corpus = Corpus.open(directory / "corpus")
    texts, roles = corpus.take(np.arange(20))
    exported = SentenceTransformer(str(directory / "export"), device="cpu").encode(texts)
    student = Student.load(Places(directory / "student").final(3))
    ours = StudentEncoder(student, "fc1").encode(texts, roles)
    np.testing.assert_allclose(exported, ours, atol=1e-5)
    card = (directory / "export" / "README.md").read_text()
    for words in ("dummy", "second", "documents", "questions", "reduce", "held-out"):
        assert words in card


def test_plain_zarr_reads_the_vectors(finished):
    directory, _ = finished
    group = zarr.open_group(str(directory / "store" / "vectors.zarr"), mode="r")
    store = TeacherStore.open(directory / "store")
    rows = np.arange(store.layout.rows)
    for name, width in (("dummy", 24), ("second", 8)):
        assert group[name].shape == (len(rows), width)
        np.testing.assert_array_equal(group[name][:], store.read_teacher(name, rows))


def test_the_target_is_the_weighted_concatenation(finished):
    directory, _ = finished
    store = TeacherStore.open(directory / "store")
    rows = np.array([5, 1, 70])
    first, second = (
        store.read_teacher(name, rows).astype(np.float32) for name in ("dummy", "second")
    )
    expected = np.concatenate([first * np.sqrt(0.75), second * np.sqrt(0.25)], axis=1)
    found = store.read(rows, teachers=["dummy", "second"], weights=[3.0, 1.0])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)


def test_running_again_changes_no_file(finished):
    directory, _ = finished

    def files():
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size)
            for part in ("corpus", "store", "student", "eval")
            for path in (directory / part).rglob("*")
            if path.is_file()
        }

    before = files()
    again = invoke("run", "--run", str(directory))
    assert again.exit_code == 0, again.output
    assert files() == before
    assert "student fc1" in again.output


def test_status_plan_and_store_speak_json(finished):
    directory, _ = finished
    where = ["--run", str(directory), "--json"]
    status = json.loads(invoke("status", *where).stdout)
    assert all(line["done"] == line["total"] for line in status)
    plan = json.loads(invoke("plan", *where).stdout)
    assert plan["rows_are_exact"]
    assert plan["store_bytes"] == plan["rows"] * 32 * 2
    info = json.loads(invoke("store", "info", *where).stdout)
    assert [row["teacher"] for row in info] == ["dummy", "second"]
    verified = invoke("store", "verify", *where)
    assert (verified.exit_code, json.loads(verified.stdout)["problems"]) == (0, [])


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, to change."""
    return Path(shutil.copytree(finished[0], tmp_path / "copy"))


def progress(directory):
    lines = json.loads(invoke("status", "--run", str(directory), "--json").stdout)
    return {line["what"]: line["done"] for line in lines}


def table(directory):
    _, _, rest = (directory / "README.md").read_text().partition("## Results")
    return rest.partition("## ")[0]


def test_an_evaluation_of_an_earlier_stage_is_not_the_runs(copy, tmp_path):
    results = copy / "eval" / "results.json"
    kept = results.read_text()
    done = invoke("eval", "--run", str(copy), "--stage", "2", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [student["model"] for student in result["students"]] == ["student fc1"]
    assert result["students"][0]["held_out"]["cosine"] > 0
    # It was asked for, and is kept apart.
    apart = copy / "eval" / "stage-2" / "results.json"
    assert json.loads(apart.read_text())["of"]["stage"] == 2
    assert results.read_text() == kept
    assert progress(copy)["eval"] == 1
    # What an evaluation without --stage leaves while the last stage is not finished.
    shutil.copy(apart, results)
    assert progress(copy)["eval"] == 0
    exported = invoke("export", "--run", str(copy), "--to", str(tmp_path / "other"))
    assert "of other weights" in exported.stderr
    assert not table(tmp_path / "other")
    assert table(copy / "export")
    # A run that has come to stage 2 has its card from where that stage was measured.
    results.write_text(kept)
    shutil.rmtree(copy / "student" / "stage-3" / "final")
    assert invoke("export", "--run", str(copy)).exit_code == 0
    assert table(copy / "export")


def test_the_last_stage_is_the_run_when_it_is_asked_for(finished):
    run = Run.open(finished[0], None, ())
    assert run.of_stage(run.results, 3) == run.of_stage(run.results, None) == run.results


@pytest.mark.parametrize("broken", ["{", "[]", "{}", '{"of": {"stage": 3}}'])
def test_a_broken_evaluation_is_made_anew(copy, broken):
    results = copy / "eval" / "results.json"
    results.write_text(broken)
    exported = invoke("export", "--run", str(copy))
    assert exported.exit_code == 0, exported.output
    assert "is ignored" in exported.stderr
    assert not table(copy / "export")
    if broken != "{}":
        return
    again = invoke("run", "--run", str(copy), "--json")
    assert again.exit_code == 0, again.output
    said = json.loads(again.stdout)
    assert said["export"] == str(copy / "export")
    assert [model["model"] for model in said["students"]] == ["student fc1", "student fc2"]
    assert table(copy / "export")
    assert progress(copy)["eval"] == 1


def test_other_weights_settings_or_loaded_teachers_are_another_evaluation(copy):
    def current(*overrides):
        return current_results(Run.open(copy, None, overrides))

    assert current().loaded == {"dummy": True, "second": True}
    assert current("evaluation.held_out_spans=7") is None
    assert current("teachers.0.weight=1") is None
    with pytest.raises(PipeError, match="nowhere"):
        current("evaluation.sets=nowhere")
    heads = Places(copy / "student").final(3) / "heads.safetensors"
    heads.write_bytes(heads.read_bytes()[:-1] + b"!")
    assert current() is None
    assert progress(copy) | {"eval": 0, "export": 0} == progress(copy)


def test_a_teacher_that_could_not_be_loaded_is_tried_again(copy):
    results = copy / "eval" / "results.json"
    kept = json.loads(results.read_text())
    kept["loaded"]["second"] = False
    results.write_text(json.dumps(kept))
    assert invoke("run", "--run", str(copy)).exit_code == 0
    assert json.loads(results.read_text())["loaded"]["second"]


def test_a_report_that_cannot_be_written_is_a_line_and_the_table_is_there(copy, monkeypatch):
    def full(run):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.report_page.write_report", full)
    done = invoke("run", "--run", str(copy))
    assert done.exit_code == 0, done.output
    assert "held-out cosine" in done.stdout
    assert f"the student is in {copy / 'export'}" in done.stdout
    assert "the report is in" not in done.stdout
    assert "No space left" in done.stderr and f"pipe report --run {copy}" in done.stderr
    assert "report" not in json.loads(invoke("run", "--run", str(copy), "--json").stdout)


def test_a_run_leaves_an_export_that_fits_but_for_its_card(copy):
    export = copy / "export"
    onnx = export / "onnx" / "model.onnx"
    onnx.parent.mkdir()
    onnx.write_bytes(b"converted")
    (export / "README.md").write_text("an old card")
    done = invoke("run", "--run", str(copy))
    assert done.exit_code == 0, done.output
    assert onnx.read_bytes() == b"converted"
    assert "its card alone is written anew" in done.stderr
    assert table(export)
    # Another head is another export, and its ONNX goes.
    assert invoke("export", "--run", str(copy), "--head", "fc2").exit_code == 0
    assert not onnx.exists()
    onnx.parent.mkdir()
    assert invoke("run", "--run", str(copy)).exit_code == 0
    assert not onnx.parent.exists()
    assert json.loads((export / "jasper_distill.json").read_text())["head"] == "fc1"


def test_a_missing_mteb_is_told_before_the_work(inputs, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "mteb", raising=False)
    monkeypatch.setattr("student.evaluation.mteb_library.find_spec", lambda name: None)
    sets = f"--set=evaluation.sets={tmp_path}"
    done = invoke("run", "--recipe", str(inputs), "--run", str(tmp_path / "run"), sets)
    assert done.exit_code == 1
    assert "pip install 'jasper-distill[mteb]'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_files_of_the_sets_belong_to_an_evaluation(copy, tmp_path):
    pairs = tmp_path / "sets" / "sts" / "pairs.jsonl"
    pairs.parent.mkdir(parents=True)
    rows = [
        {"sentence1": "the cat", "sentence2": "a cat", "score": 5},
        {"sentence1": "the cat", "sentence2": "the sea", "score": 1},
        {"sentence1": "a road", "sentence2": "a city", "score": 3},
    ]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = Run.open(copy, None, [f"evaluation.sets={tmp_path / 'sets'}"])
    results = evaluate(run)
    assert set(results.comparison["students"][0]["tasks"]) == {"pairs"}
    assert current_results(run) == results
    run = Run.open(copy, None, [])
    assert current_results(run) is None
    results = evaluate(run, sets=tmp_path / "sets")
    # Where the recipe names none, sets of the user's choice are as good.
    assert current_results(run) == results
    assert progress(copy)["eval"] == 1
    pairs.write_text(pairs.read_text() + json.dumps(rows[0]) + "\n")
    assert current_results(run) is None


def test_the_card_is_of_what_was_trained(copy, inputs, tmp_path):
    target = tmp_path / "model"
    now = ["student.start=somebody/else", "stages.2.steps=999", "teachers.0.weight=9"]
    sets = [f"--set={one}" for one in now]
    done = invoke("export", "--run", str(copy), "--to", str(target), "--json", *sets)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"export": str(target), "stage": 3, "head": "fc1"}
    card = (target / "README.md").read_text()
    assert "layers 0, 2 of start" in card
    assert str(inputs.parent) not in card
    for wrong in ("somebody", "999", "| 9 |"):
        assert wrong not in card


def test_export_of_a_head_that_is_not_there(copy, tmp_path):
    target = tmp_path / "model"
    done = invoke("export", "--run", str(copy), "--head", "nope", "--to", str(target))
    assert done.exit_code == 1
    assert "no head 'nope'; its heads are fc1, fc2" in done.output
    assert not target.exists()
    # An early stage without the default head falls back to its first.
    for number in (2, 3):
        shutil.rmtree(Places(copy / "student").stage(number))
    record = Places(copy / "student").final(1) / "student.json"
    record.write_text(record.read_text().replace('"default_head": "fc1"', '"default_head": "fc2"'))
    done = invoke("export", "--run", str(copy), "--to", str(target), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"export": str(target), "stage": 1, "head": "fc1"}
    assert "no head 'fc2' yet" in done.stderr
    assert progress(copy)["export"] == 0


def test_the_plan_says_what_is_left(copy):
    full = json.loads(invoke("plan", "--run", str(copy), "--json").stdout)
    assert full["store_bytes_left"] == 0
    assert all(stage["finished"] for stage in full["stages"])
    (copy / "store" / "commits" / "second" / "00001.json").unlink()
    shutil.rmtree(Places(copy / "student").final(3))
    done = invoke("plan", "--run", str(copy), "--json")
    plan = json.loads(done.stdout)
    second = plan["teachers"][1]
    assert (second["shards_done"], second["shards_left"]) == (plan["shards"] - 1, 1)
    assert plan["store_bytes_left"] == second["bytes_left"] == 64 * 8 * 2
    assert [stage["finished"] for stage in plan["stages"]] == [True, True, False]
    assert plan["stages"][2]["steps_done"] == 20
    text = invoke("plan", "--run", str(copy)).stdout
    assert f"{plan['shards'] - 1} of {plan['shards']} shards done, 1.0 kB left to write" in text


def test_time_left_is_at_the_pace_of_the_latest_commits(copy):
    commits = sorted((copy / "store" / "commits" / "second").glob("*.json"))
    for minute, path in enumerate(commits):
        rewrite(path, created=f"2026-01-01T00:{minute:02d}:00+00:00", seconds=None)
    commits[-2].unlink()
    plan = json.loads(invoke("plan", "--run", str(copy), "--json").stdout)
    layout = TeacherStore.open(copy / "store").layout
    last = len(layout.range_of(layout.num_shards - 1))
    pace = (64 * (len(commits) - 3) + last) / (60 * (len(commits) - 1))
    left = [teacher["seconds_left"] for teacher in plan["teachers"]]
    assert left == [None, pytest.approx(64 / pace)]


def test_a_teacher_named_start_keeps_its_own_row(inputs, tmp_path):
    recipe = tmp_path / "start.toml"
    recipe.write_text(inputs.read_text().replace('name = "second"', 'name = "start"'))
    stages = [f"--set=stages.{number}.steps=1" for number in range(3)]
    done = invoke("run", "--recipe", str(recipe), "--run", str(tmp_path / "r"), *stages, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert [teacher["model"] for teacher in said["teachers"]] == ["dummy", "teacher start"]
    assert said["start"]["dim"] == 32
    assert said["teachers"][1]["held_out"]["dim"] == 8
    assert said["start"]["held_out"]["dim"] == 32


def test_the_plan_of_the_paper_needs_no_gpu_and_no_network(tmp_path):
    done = invoke("plan", "--recipe", "jasper", "--run", str(tmp_path / "none"), "--json")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["target_width"] == 12288
    assert plan["store_bytes"] == 8_000_000 * 12288 * 2
    assert [stage["steps"] for stage in plan["stages"]] == [4000, 7000, 2200, 3500]
    assert not (tmp_path / "none").exists()


def test_another_head_can_be_exported(finished, tmp_path):
    directory, _ = finished
    target = tmp_path / "small"
    done = invoke("export", "--run", str(directory), "--head", "fc2", "--to", str(target))
    assert done.exit_code == 0, done.output
    assert SentenceTransformer(str(target), device="cpu").encode(["the cat"]).shape == (1, 12)


@pytest.mark.parametrize("command", ["--help", "teachers"])
def test_commands_without_a_run(command):
    assert invoke(command).exit_code == 0
