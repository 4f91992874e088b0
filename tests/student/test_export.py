"""Exports load in sentence-transformers and give the student's own vectors."""

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from torch import nn

from data_prep.errors import PipeError
from student.backbone import load_backbone, load_tokenizer
from student.encode import StudentEncoder
from student.export import export
from student.export_record import ExportRecord
from student.model import Student
from teacher_cache.config import Prompts
from tests.student.models import save_backbone
from tests.student.tiny_students import FAMILIES, TEXTS, student

PASSAGES = ["passage"] * len(TEXTS)


def record(head: str = "fc1") -> ExportRecord:
    return ExportRecord("0", "tiny", 1, "0" * 64, head)


@pytest.mark.parametrize("family", FAMILIES)
def test_export_gives_the_students_vectors_for_every_head(family: str, tmp_path: Path) -> None:
    model = student(family)
    for head in model.heads:
        directory = export(model, tmp_path / "export", "# card", record(head))
        loaded = SentenceTransformer(str(directory), device="cpu", trust_remote_code=False)
        expected = StudentEncoder(model, head).encode(TEXTS, PASSAGES)
        np.testing.assert_allclose(loaded.encode(TEXTS), expected, atol=1e-5)
        assert loaded.max_seq_length == model.max_tokens
    if family == "qwen2":
        assert json.loads((directory / "config.json").read_text())["is_causal"] is False


def test_roles_become_prompts(tmp_path: Path) -> None:
    model = student("bert", prompts=Prompts(question="query: ", passage="a "))
    loaded = SentenceTransformer(
        str(export(model, tmp_path / "export", "", record())), device="cpu"
    )
    encoder = StudentEncoder(model, "fc1")
    questions = encoder.encode(TEXTS, ["question"] * len(TEXTS))
    passages = encoder.encode(TEXTS, PASSAGES)
    np.testing.assert_allclose(loaded.encode_query(TEXTS), questions, atol=1e-5)
    np.testing.assert_allclose(loaded.encode_document(TEXTS), passages, atol=1e-5)
    np.testing.assert_allclose(loaded.encode(TEXTS), passages, atol=1e-5)


def test_heads_of_one_width_keep_apart(tmp_path: Path) -> None:
    model = student("bert", heads={"fc1": 12, "fc2": 12})
    directory = export(model, tmp_path / "export", "", record("fc2"))
    assert {path.name for path in directory.glob("2_Dense_*")} == {
        "2_Dense_12_fc1",
        "2_Dense_12_fc2",
    }
    loaded = SentenceTransformer(str(directory), device="cpu")
    expected = StudentEncoder(model, "fc2").encode(TEXTS, PASSAGES)
    np.testing.assert_allclose(loaded.encode(TEXTS), expected, atol=1e-5)


def test_export_holds_no_pickle_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    directory = export(student("bert"), tmp_path / "export", "first", record())
    (directory / "left-over").write_text("")
    export(student("bert"), directory, "second", record())
    files = {path.name for path in directory.rglob("*") if path.is_file()}
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pkl"))}
    assert "left-over" not in files
    assert (directory / "README.md").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@pytest.mark.parametrize("name", ["thesis.tex", "modules.json", "jasper_distill.json"])
def test_export_spares_a_directory_that_is_not_ours(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[]")
    with pytest.raises(PipeError, match="choose another directory"):
        export(student("bert"), tmp_path, "", record())
    assert (tmp_path / name).read_text() == "[]"


def test_export_says_where_it_comes_from(tmp_path: Path) -> None:
    directory = export(student("bert"), tmp_path / "export", "", record())
    assert ExportRecord.read(directory) == record()
    assert ExportRecord.read(tmp_path) is None


def test_failed_export_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = export(student("bert"), tmp_path / "export", "first", record())

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("student.export.save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        export(student("bert"), directory, "second", record())
    assert (directory / "README.md").read_text() == "first"
    SentenceTransformer(str(directory), device="cpu")


def test_earlier_releases_find_what_they_look_for(tmp_path: Path) -> None:
    start = save_backbone(tmp_path / "start", "modernbert")
    model = Student(
        load_backbone(start),
        load_tokenizer(start),
        max_tokens=16,
        prompts=Prompts(),
        default_head="fc1",
    )
    model.heads["fc1"] = nn.Linear(model.hidden, 12)
    directory = export(model, tmp_path / "export", "", record())
    tokenizer = json.loads((directory / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["model_input_names"] == ["input_ids", "attention_mask"]
    assert not {"is_local", "local_files_only"} & tokenizer.keys()
    config = json.loads((directory / "config.json").read_text())
    assert config["global_rope_theta"] == 160000.0 and config["local_rope_theta"] == 10000.0
    assert config["global_attn_every_n_layers"] == 3
    loaded = SentenceTransformer(str(directory), device="cpu")
    expected = StudentEncoder(model, "fc1").encode(TEXTS, PASSAGES)
    np.testing.assert_allclose(loaded.encode(TEXTS), expected, atol=1e-5)


def test_what_the_card_shows_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "drawn.png").write_bytes(b"a picture")
    directory = export(
        student("bert"), tmp_path / "export", "", record(), {"found.png": tmp_path / "drawn.png"}
    )
    assert (directory / "found.png").read_bytes() == b"a picture"


def test_unknown_heads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipeError, match="fc1, fc2"):
        export(student("bert"), tmp_path / "export", "", record("fc9"))
    assert not (tmp_path / "export").exists()
