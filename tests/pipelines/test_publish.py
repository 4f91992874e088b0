"""Publishing an export: the hub's own client against a server on this machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import huggingface_hub
import pytest
from click.testing import CliRunner
from huggingface_hub import ModelCard

from data_prep.config import SourceConfig
from data_prep.errors import PipeError
from pipelines.card import hub_data_set
from pipelines.cli import cli
from pipelines.publish import publish
from pipelines.results_revision import results_revision
from teacher_cache.config import Prompts
from tests.pipelines.upload_hub import REPO, TOKEN, UploadHub

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hub(monkeypatch):
    with UploadHub().serve() as served:
        lead_to(served.url, monkeypatch)
        yield served


def lead_to(url, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def push(finished, tmp_path):
    def call(*options, repo=REPO, run=finished[0]):
        arguments = ["export", "--run", str(run), "--to", str(tmp_path / "out")]
        done = CliRunner().invoke(cli, [*arguments, "--push-to-hub", repo, *options])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    call.directory = tmp_path / "out"
    return call


def contents(directory):
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def test_one_commit_holds_the_directory(hub, push):
    done = push("--json")
    assert done.exit_code == 0, done.output
    assert hub.files == contents(push.directory)
    assert hub.messages == ["tiny, stage 3"] and hub.private is False
    assert json.loads(done.stdout)["hub"] == {"url": f"{hub.url}/{REPO}", "revision": hub.revision}
    assert f'SentenceTransformer("{REPO}")' in hub.files["README.md"].decode()
    assert TOKEN not in done.output


def test_again_and_private(hub, push):
    assert push("--private", "--commit-message", "first").exit_code == 0
    sent = sum(request.startswith("PUT") for request in hub.requests)
    done = push("--private", "--commit-message", "second", "--head", "fc2")
    assert done.exit_code == 0, done.output
    assert hub.private and hub.messages == ["first", "second"]
    assert hub.files == contents(push.directory)
    assert json.loads(hub.files["modules.json"])[2]["path"] == "2_Dense_12"
    # The weights are the same, so they are not sent again.
    assert sum(request.startswith("PUT") for request in hub.requests) == sent > 0


def test_what_else_lies_there_stays_and_a_public_one_takes_nothing_private(hub, push):
    hub.private, hub.files = False, {"LICENSE": b"mine"}
    done = push("--private")
    assert done.exit_code == 1 and "is on the hub already and public" in done.output
    assert hub.files == {"LICENSE": b"mine"}
    assert push().exit_code == 0
    assert hub.files == contents(push.directory) | {"LICENSE": b"mine"}


def test_what_an_earlier_push_left_goes_in_the_same_commit(hub, push):
    assert push().exit_code == 0
    own = {"LICENSE": b"mine", "adapter_model.safetensors": b"mine", "img/onnx/a.png": b"mine"}
    stale = {
        "onnx/model.onnx", "2_Dense_99_old/model.safetensors", "2_Dense_99_old/config.json",
        "model-00001-of-00002.safetensors", "model.safetensors.index.json", "found-images.png",
        "preprocessor_config.json", "processor_config.json",
    }  # fmt: skip
    hub.files |= own | dict.fromkeys(stale, b"old")
    done = push("--commit-message", "second")
    assert done.exit_code == 0, done.output
    assert hub.messages == ["tiny, stage 3", "second"]
    assert hub.files == contents(push.directory) | own
    assert all(name in done.stderr for name in stale)


def test_nothing_is_removed_where_this_project_has_not_pushed(hub, push):
    own = {"onnx/model.onnx": b"mine", "2_Dense_99/model.safetensors": b"mine"}
    hub.private, hub.files = False, dict(own)
    assert push().exit_code == 0
    assert hub.files == contents(push.directory) | own


@pytest.mark.parametrize(
    ("part", "status", "said"),
    [
        ("", 401, "log in again"),
        ("/commit/", 403, "may not write there"),
        ("/commit/", 409, "somebody else changed it"),
        ("/large/", 403, "may not write there"),
        ("/preupload/", 404, "check the name"),
        ("/api/repos/create", 429, "asks to wait"),
    ],
)
def test_a_refusal_is_a_sentence_and_the_export_stays_whole(part, status, said, hub, push):
    hub.refused[part] = status
    done = push()
    assert done.exit_code == 1
    assert said in done.output and f"HTTP {status}" in done.output and "is whole" in done.output
    assert TOKEN not in done.output
    assert not hub.files
    hub.refused.clear()
    left = contents(push.directory)
    publish(push.directory, REPO, private=False, message="again")
    assert hub.files == left


def test_without_network(push, monkeypatch):
    lead_to("http://127.0.0.1:9", monkeypatch)  # nobody answers
    done = push()
    assert done.exit_code == 1 and "check the network" in done.output
    assert (push.directory / "modules.json").is_file()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in push().output


def test_without_a_token_nothing_is_exported(hub, push, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    done = push()
    assert done.exit_code == 1 and "found no token" in done.output
    assert not push.directory.exists() and not hub.requests


@pytest.mark.parametrize("repo", ["student", "a/b/c", "owner/a b", "owner/..", "../student"])
def test_a_wrong_name_is_refused(repo, push):
    done = push(repo=repo)
    assert done.exit_code == 2 and "expected OWNER/NAME" in done.output


@pytest.fixture
def restricted(finished, tmp_path):
    """A run whose student began from weights that are not free."""
    run = shutil.copytree(finished[0], tmp_path / "restricted", symlinks=True)
    record = run / "student" / "stage-3" / "stage.json"
    settings = json.loads(record.read_text())
    settings["student"]["license"] = "CC-BY-NC-4.0"
    record.write_text(json.dumps(settings))
    return run


def test_restricted_weights_are_pushed_with_a_warning(hub, push, restricted):
    done = push(run=restricted)
    assert done.exit_code == 0, done.output
    said = "(CC-BY-NC-4.0) may not be used commercially"
    assert "warning: the start" in done.stderr and said in done.stderr
    card = ModelCard(hub.files["README.md"].decode())
    assert card.data.license == "other" and said in card.text
    hub.private, hub.files = None, {}
    assert "warning" not in push("--private", run=restricted).stderr and hub.files


def test_no_is_taken_for_an_answer(hub, push, restricted, monkeypatch):
    monkeypatch.setattr("pipelines.commands.export.is_asked", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    done = push(run=restricted)
    assert done.exit_code == 1 and "not pushed" in done.output
    assert not hub.requests and (push.directory / "modules.json").is_file()


def test_a_killed_upload_leaves_the_export_whole(finished, tmp_path):
    directory = tmp_path / "out"
    with UploadHub(refused={"/preupload/": 503}).serve() as hub:  # the client tries again and again
        settings = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        arguments = ["export", "--run", str(finished[0]), "--to", str(directory)]
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", *arguments, "--push-to-hub", REPO],
            env=os.environ | settings | {"HF_HUB_OFFLINE": "0"},
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        while not any("preupload" in request for request in hub.requests):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not hub.files
    again = tmp_path / "again"
    arguments = ["export", "--run", str(finished[0]), "--to", str(again)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    left, expected = contents(directory), contents(again)
    for files in (left, expected):
        del files["README.md"]  # it bears the name on the hub
    assert left == expected


def test_without_the_library_onnx_is_a_sentence(finished, tmp_path):
    arguments = ["export", "--run", str(finished[0]), "--to", str(tmp_path / "out"), "--onnx"]
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # no package at all
    bare.chmod(0o755)
    done = CliRunner().invoke(cli, [*arguments, "--onnx-python", str(bare)])
    assert done.exit_code == 1
    assert "pip install 'sentence-transformers[onnx]'" in done.output
    assert (tmp_path / "out" / "modules.json").is_file()


def test_what_a_killed_conversion_left_goes_at_the_next_one(finished, tmp_path, monkeypatch):
    def convert(directory, work, *_):
        assert not (work / "left").exists()
        (work / "converted" / "onnx").mkdir(parents=True)
        raise PipeError("refused by the test")

    monkeypatch.setattr("pipelines.onnx.subprocess.run", lambda *_, **__: Mock(returncode=0))
    monkeypatch.setattr("pipelines.onnx.other_vectors", convert)
    left = tmp_path / ".out.onnx"
    left.mkdir()
    (left / "left").write_text("by kill -9")
    arguments = ["export", "--run", str(finished[0]), "--to", str(tmp_path / "out"), "--onnx"]
    assert "refused by the test" in CliRunner().invoke(cli, arguments).output
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("options", [("--onnx", "--images"), ("--private",)])
def test_options_that_do_not_go_together(options, finished):
    done = CliRunner().invoke(cli, ["export", "--run", str(finished[0]), *options])
    assert done.exit_code == 2


def test_the_card_names_no_directory_and_its_picture_lies_beside_it(finished, tmp_path):
    run = shutil.copytree(finished[0], tmp_path / "run", symlinks=True)
    results = run / "eval" / "results.json"
    kept = json.loads(results.read_text())
    drawn = "/of/this/machine/eval/found-images.png"
    kept["table"] += f"\n\nwhat some captions found: {drawn}"
    kept["images"] = {"picture": drawn}
    results.write_text(json.dumps(kept))
    (run / "eval" / "found-images.png").write_bytes(b"a picture")
    done = CliRunner().invoke(cli, ["export", "--run", str(run)])
    assert done.exit_code == 0, done.output
    card = (run / "export" / "README.md").read_text()
    assert "![What some captions found](found-images.png)" in card
    assert (run / "export" / "found-images.png").read_bytes() == b"a picture"
    for path in ("/of/this/machine", str(tmp_path), str(finished[0].parents[1])):
        assert path not in card
    assert card.count("student fc1") == 2  # the tables themselves are there


@pytest.mark.parametrize(
    ("path", "form", "name"),
    [
        ("hf://datasets/owner/set@main/data/*.parquet", "parquet", ["owner/set"]),
        ("owner/set", "datasets", ["owner/set"]),
        ("data/texts", "jsonl", []),
        ("/home/me/owner/set", "datasets", []),
        ("s3://bucket/owner/set", "parquet", []),
    ],
)
def test_data_sets_of_the_hub_are_known_by_name(path, form, name):
    assert list(hub_data_set(SourceConfig(name="s", path=path, format=form))) == name


def test_results_of_mteb_become_the_model_index(finished, tmp_path):
    pytest.importorskip("mteb")
    run = shutil.copytree(finished[0], tmp_path / "run", symlinks=True)
    weights = json.loads((run / "export" / "jasper_distill.json").read_text())["weights"]
    score = {"main_score": 0.625, "hf_subset": "default", "languages": ["eng-Latn"]}
    result = {
        "dataset_revision": "a0d554a64d88156834ff5ae9920b964011b16384",
        "task_name": "STS12",
        "mteb_version": "2.26.0",
        "scores": {"test": [score]},
        "evaluation_time": 1.0,
        "kg_co2_emissions": None,
    }
    revision = results_revision(weights, Prompts(), max_tokens=32)
    for model, filed in (
        ("jasper-distill__student-fc1", revision),
        ("jasper-distill__student-fc1", "0" * 40),
        ("jasper-distill__student-fc2", revision),
    ):
        place = run / "eval" / "mteb" / "results" / model / filed
        place.mkdir(parents=True)
        (place / "STS12.json").write_text(json.dumps(result))
        (place / "Mine.json").write_text(json.dumps(result | {"task_name": "Mine"}))
        (place / "model_meta.json").write_text("{}")
    assert CliRunner().invoke(cli, ["export", "--run", str(run)]).exit_code == 0
    card = ModelCard.load(run / "export" / "README.md")
    (found,) = card.data.eval_results
    assert found.dataset_type == "mteb/sts12-sts" and found.metric_value == 0.625
    assert found.metric_type == "cosine_spearman" and "mteb" in card.data.tags
    assert "STS12 (default) | test | cosine_spearman | 0.6250" in card.text


def test_mteb_reads_the_facts_of_an_export(finished, tmp_path):
    meta_of = pytest.importorskip("mteb.models.model_meta").ModelMeta
    from sentence_transformers import SentenceTransformer

    arguments = ["export", "--run", str(finished[0]), "--to", str(tmp_path / "out")]
    assert CliRunner().invoke(cli, [*arguments, "--head", "fc2"]).exit_code == 0
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    meta = meta_of.from_sentence_transformer_model(model)
    assert (meta.embed_dim, meta.max_tokens) == (12, 32)
    assert meta.similarity_fn_name.value == "cosine"
