"""A whole run: what comes out of it, and that a second one has nothing to do."""

import json

import numpy as np
import pytest
import torch
import zarr
from click.testing import CliRunner
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from data_prep.corpus import Corpus
from pipelines.cli import cli
from student.encode import StudentEncoder
from student.model import Student
from student.places import Places
from teacher_cache.store import TeacherStore


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
    assert (verified.exit_code, json.loads(verified.stdout)) == (0, [])


def test_eval_of_an_earlier_stage_and_json(finished):
    directory, _ = finished
    kept = (directory / "eval" / "results.json").read_text()
    done = invoke("eval", "--run", str(directory), "--stage", "1", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [student["model"] for student in result["students"]] == ["student fc1"]
    assert result["students"][0]["held_out"]["cosine"] > 0
    (directory / "eval" / "results.json").write_text(kept)


def test_the_plan_of_the_paper_needs_no_gpu_and_no_network(tmp_path):
    done = invoke("plan", "--recipe", "jasper", "--run", str(tmp_path / "none"), "--json")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["target_width"] == 12288
    assert plan["store_bytes"] == 8_000_000 * 12288 * 2
    assert [stage["steps"] for stage in plan["stages"]] == [4000, 7000, 2200]
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
