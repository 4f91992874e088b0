"""Exports load in sentence-transformers and give the student's own vectors."""

import json
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer

from data_prep.errors import PipeError
from student.card import (
    CardFacts,
    CardHead,
    CardSource,
    CardStage,
    CardTeacher,
    model_card,
    non_commercial,
)
from student.encode import StudentEncoder
from student.export import dense_directory, export, use_head
from teacher_cache.config import Prompts
from tests.student.tiny_students import FAMILIES, TEXTS, student

PASSAGES = ["passage"] * len(TEXTS)


def facts(teacher_license: str = "mit", source_license: str | None = "cc0-1.0") -> CardFacts:
    return CardFacts(
        name="tiny-student",
        base_model="example/base",
        base_model_on_hub=True,
        license="apache-2.0",
        parameters=1234567,
        max_tokens=16,
        question_prompt="query: ",
        passage_prompt="",
        default_head="fc1",
        heads=(CardHead("fc1", 48, "2_Dense_48"), CardHead("fc2", 12, "2_Dense_12")),
        stages=(CardStage("fc1", "heads.fc1", "fc1: cosine", 10, 128, 1e-4),),
        sources=(CardSource("docs", 1000, source_license),),
        teachers=(CardTeacher("big", "example/big", 48, 1.0, teacher_license),),
        results="set  score",
        made_with="jasper-distill 0",
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_export_gives_the_students_vectors_for_every_head(family: str, tmp_path: Path) -> None:
    model = student(family)
    directory = export(model, tmp_path / "export", card="# card")
    for head in [None, *model.heads]:
        if head is not None:
            use_head(directory, dense_directory(model, head))
        loaded = SentenceTransformer(str(directory), device="cpu", trust_remote_code=False)
        expected = StudentEncoder(model, head or "fc1").encode(TEXTS, PASSAGES)
        np.testing.assert_allclose(loaded.encode(TEXTS), expected, atol=1e-5)
        assert loaded.max_seq_length == model.max_tokens
    if family == "qwen2":
        assert json.loads((directory / "config.json").read_text())["is_causal"] is False


def test_roles_become_prompts(tmp_path: Path) -> None:
    model = student("bert", prompts=Prompts(question="query: ", passage="a "))
    loaded = SentenceTransformer(str(export(model, tmp_path / "export", card="")), device="cpu")
    encoder = StudentEncoder(model, "fc1")
    questions = encoder.encode(TEXTS, ["question"] * len(TEXTS))
    passages = encoder.encode(TEXTS, PASSAGES)
    np.testing.assert_allclose(loaded.encode_query(TEXTS), questions, atol=1e-5)
    np.testing.assert_allclose(loaded.encode_document(TEXTS), passages, atol=1e-5)
    np.testing.assert_allclose(loaded.encode(TEXTS), passages, atol=1e-5)


def test_heads_of_one_width_keep_apart(tmp_path: Path) -> None:
    model = student("bert", heads={"fc1": 12, "fc2": 12})
    directory = export(model, tmp_path / "export", card="", head="fc2")
    assert {path.name for path in directory.glob("2_Dense_*")} == {
        "2_Dense_12_fc1",
        "2_Dense_12_fc2",
    }
    loaded = SentenceTransformer(str(directory), device="cpu")
    expected = StudentEncoder(model, "fc2").encode(TEXTS, PASSAGES)
    np.testing.assert_allclose(loaded.encode(TEXTS), expected, atol=1e-5)


def test_export_holds_no_pickle_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    directory = export(student("bert"), tmp_path / "export", card="first")
    (directory / "left-over").write_text("")
    export(student("bert"), directory, card="second")
    files = {path.name for path in directory.rglob("*") if path.is_file()}
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pkl"))}
    assert "left-over" not in files
    assert (directory / "README.md").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_export_spares_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PipeError, match="choose another directory"):
        export(student("bert"), tmp_path, card="")
    assert (tmp_path / "thesis.tex").exists()


def test_failed_export_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = export(student("bert"), tmp_path / "export", card="first")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("student.export.save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        export(student("bert"), directory, card="second")
    assert (directory / "README.md").read_text() == "first"
    SentenceTransformer(str(directory), device="cpu")


def test_unknown_heads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipeError, match="fc1, fc2"):
        export(student("bert"), tmp_path / "export", card="", head="fc9")
    directory = export(student("bert"), tmp_path / "export", card="")
    with pytest.raises(PipeError, match="2_Dense_12, 2_Dense_48"):
        use_head(directory, "2_Dense_1024")


def test_card_front_matter_is_what_the_hub_reads() -> None:
    card = ModelCard(model_card(facts()))
    assert card.data.library_name == "sentence-transformers"
    assert card.data.pipeline_tag == "sentence-similarity"
    assert card.data.license == "apache-2.0"
    assert card.data.base_model == "example/base"
    assert "Warning" not in card.text


@pytest.mark.parametrize(
    "restricted", [facts(teacher_license="CC-BY-NC-4.0"), facts(source_license="CC BY-NC-SA 3.0")]
)
def test_card_warns_of_a_non_commercial_origin(restricted: CardFacts) -> None:
    card = ModelCard(model_card(restricted))
    assert card.data.license == "other"
    assert "may not be used commercially" in card.text


def test_card_lists_what_nobody_stated() -> None:
    card = model_card(facts(teacher_license="unknown", source_license=None))
    assert "the terms of big, docs" in card


@pytest.mark.parametrize("name", ["cc-by-nc-4.0", "CC BY-NC-SA 3.0", "Non-commercial", "NC"])
def test_non_commercial_names(name: str) -> None:
    assert non_commercial(name)


@pytest.mark.parametrize("name", ["MIT", "apache-2.0", "CC-BY-SA-3.0", "ncsa-like", "PSF", "BSD"])
def test_commercial_names(name: str) -> None:
    assert not non_commercial(name)
