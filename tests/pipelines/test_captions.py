"""The captions' store: several workers, damage, and another student than the one that made it."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from click.testing import CliRunner

import pipelines.captions
from data_prep.pairs.corpus import PairCorpus
from pipelines.captions import captions_teacher
from pipelines.cli import cli
from pipelines.run import Run
from student.model import Student
from teacher_cache.store import TeacherStore
from tests.pipelines.test_images_stage import call, finished, run, stage, three_stages
from tests.warm import WarmProcess

__all__ = ["finished", "run", "three_stages"]


def said(done):
    return " ".join(done.output.split())


def store(directory, command, *options):
    return CliRunner().invoke(cli, ["store", command, "--pairs", "--run", str(directory), *options])


def test_two_workers_share_the_captions(run):
    command = ["pipelines", "teach", "--run", str(run), "--teacher", "student"]
    workers = [WarmProcess(*command, "--worker", f"{number}/2") for number in (1, 2)]
    for worker in workers:
        _, errors = worker.communicate(timeout=240)
        assert worker.returncode == 0, errors
    store = TeacherStore.open(run / "pairs/store", PairCorpus.open(run / "pairs/corpus").captions)
    assert not store.missing("student")


def test_one_of_several_at_once_exports_the_student(run, monkeypatch):
    opened, exported, export = Run.open(run, None, ()), [], pipelines.captions.export

    def counted(*given):
        exported.append(given)
        return export(*given)

    monkeypatch.setattr(pipelines.captions, "export", counted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(captions_teacher, [opened] * 4))
    assert len(exported) == 1
    assert len({teacher.fingerprint for teacher in found}) == 1


@pytest.fixture
def begun(finished, tmp_path):
    """A run whose captions are encoded and whose stage on images is not begun."""
    directory = shutil.copytree(finished, tmp_path / "begun")
    shutil.rmtree(directory / "student" / "stage-4")
    return directory


def test_a_damaged_store_of_captions_is_found_and_mended(begun):
    shard = next(
        path for path in (begun / "pairs/store/vectors.zarr").rglob("c/*/*") if path.is_file()
    )
    shard.write_bytes(shard.read_bytes()[:-100])
    done = call(begun, "distill", "--stage", "4")
    assert done.exit_code == 1
    assert f"`pipe store repair --pairs --run {begun}`" in said(done), done.output
    assert f"`pipe teach --teacher student --run {begun}`" in said(done)

    done = store(begun, "verify", "--json")
    assert done.exit_code == 1
    problem = json.loads(done.stdout.splitlines()[-1])["problems"][0]
    assert problem["teacher"] == "student" and "repair --pairs`" in problem["message"]
    assert store(begun, "verify", "--used").exit_code == 1
    done = store(begun, "repair")
    assert done.exit_code == 0, done.output
    assert f"`pipe teach --teacher student --run {begun}`" in done.stdout
    assert "3 of 4 shards" in store(begun, "info").stdout
    done = call(begun, "teach", "--teacher", "student")
    assert done.exit_code == 0, done.output
    found = json.loads(store(begun, "verify", "--json").stdout.splitlines()[-1])
    assert found["checked"]["shards"] == 4
    # The tiny tokenizer knows few of the captions' words.
    assert {problem["kind"] for problem in found["problems"]} <= {"duplicates"}


def test_a_lost_manifest_of_the_captions_is_made_again(begun):
    (begun / "pairs/store/manifest.json").unlink()
    done = store(begun, "repair")
    assert done.exit_code == 0, done.output
    assert "manifest, which was gone, is made again" in done.stdout
    assert call(begun, "teach", "--teacher", "student").exit_code == 0
    assert "4 of 4 shards" in store(begun, "info").stdout


def test_without_captions_the_command_that_encodes_them_is_named(run):
    done = store(run, "info")
    assert done.exit_code == 1
    assert f"run `pipe teach --teacher student --run {run}` first" in said(done)


def test_another_student_than_the_one_that_encoded_the_captions(finished, tmp_path):
    """As where the last stage on texts was trained anew."""
    directory = shutil.copytree(finished, tmp_path / "run")
    final = stage(directory, 3)
    student = Student.load(final)
    with torch.no_grad():
        student.heads["fc2"].bias += 0.5
        student.text.get_input_embeddings().weight *= 1.01
    student.save(final)
    held, fourth = directory / "pairs/store", directory / "student/stage-4"
    for command in (("distill", "--stage", "4"), ("teach", "--teacher", "student")):
        done = call(directory, *command)
        assert done.exit_code == 1
        assert "stage 3 was trained anew since the captions were encoded" in said(done)
        assert f"remove {held} and {fourth}" in said(done)
        assert "another name" not in done.output
    shutil.rmtree(fourth)
    assert f"remove {held} to encode" in said(call(directory, "distill", "--stage", "4"))
    shutil.rmtree(held)
    done = call(directory, "distill", "--stage", "4")
    assert done.exit_code == 0, done.output
