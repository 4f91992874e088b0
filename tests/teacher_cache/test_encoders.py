"""What every adapter promises, and what each small teacher is compared with."""

import logging
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from data_prep.errors import PipeError
from teacher_cache.encoders import Encoder, load_encoder, under_prompts
from teacher_cache.encoders.sentence_transformers import SentenceTransformersEncoder
from teacher_cache.models import model_directory
from teacher_cache.teachers import TEACHERS
from tests.teacher_cache.small import dummy

SMALL = ("all-minilm-l6-v2", "wordllama-256", "dummy")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Fifty real texts of very different lengths: docstrings of the standard library."""
    import argparse
    import collections
    import json
    import subprocess
    import unittest

    modules = (argparse, collections, json, subprocess, unittest)
    found = [doc for module in modules if (doc := module.__doc__)]
    for module in modules:
        for name in sorted(vars(module)):
            doc = getattr(getattr(module, name), "__doc__", None)
            if isinstance(doc, str) and doc.strip() and doc not in found:
                found.append(doc)
    shortest_to_longest = sorted(found, key=len)
    places = np.linspace(0, len(shortest_to_longest) - 1, 50).astype(int)
    chosen = [shortest_to_longest[place] for place in places]
    chosen[:-3] = [text[:300] for text in chosen[:-3]]  # three are longer than any model takes
    return [chosen[place] for place in np.random.default_rng(0).permutation(50)]


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    return {name: load_encoder(TEACHERS[name], "cpu") for name in SMALL}


def passages(texts: list[str]) -> list[str]:
    return ["passage"] * len(texts)


@pytest.fixture(scope="module")
def vectors_of(encoders: dict[str, Encoder], texts: list[str]) -> dict[str, np.ndarray]:
    return {name: encoders[name].encode(texts, passages(texts)) for name in SMALL}


@pytest.mark.parametrize("name", SMALL)
def test_unit_rows_the_same_bytes_each_time(
    name: str,
    encoders: dict[str, Encoder],
    vectors_of: dict[str, np.ndarray],
    texts: list[str],
) -> None:
    vectors = vectors_of[name]
    assert vectors.shape == (50, TEACHERS[name].dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    again = encoders[name].encode(texts, passages(texts))
    assert vectors.tobytes() == again.tobytes()
    assert len({row.tobytes() for row in vectors}) == 50


@pytest.mark.parametrize("name", SMALL)
def test_a_vector_does_not_depend_on_its_company(
    name: str,
    encoders: dict[str, Encoder],
    vectors_of: dict[str, np.ndarray],
    texts: list[str],
) -> None:
    together = vectors_of[name]
    for order in (np.arange(30)[::-1], np.array([7]), np.arange(3, 50, 9)):
        some = [texts[place] for place in order]
        np.testing.assert_allclose(
            encoders[name].encode(some, passages(some)), together[order], atol=1e-5
        )


@pytest.mark.parametrize("name", SMALL)
def test_a_prompt_is_text_in_front(
    name: str, encoders: dict[str, Encoder], texts: list[str]
) -> None:
    prompts = {"question": "search for this: ", "passage": ""}
    settings = {**TEACHERS[name].model_dump(), "prompts": prompts}
    teacher = type(TEACHERS[name]).model_validate(settings)
    few = texts[:4]
    asked = load_encoder(teacher, "cpu").encode(few, ["question", "passage"] * 2)
    plain = encoders[name].encode(few, passages(few))
    written = encoders[name].encode(["search for this: " + text for text in few], passages(few))
    np.testing.assert_allclose(asked[[0, 2]], written[[0, 2]], atol=1e-5)
    np.testing.assert_allclose(asked[[1, 3]], plain[[1, 3]], atol=1e-5)
    other = under_prompts(encoders[name], TEACHERS[name], teacher.prompts)
    again = other.encode(few, ["question", "passage"] * 2)
    np.testing.assert_array_equal(again, asked)
    np.testing.assert_array_equal(encoders[name].encode(few, passages(few)), plain)


@pytest.mark.parametrize("name", SMALL)
def test_no_texts_give_no_rows(name: str, encoders: dict[str, Encoder]) -> None:
    assert encoders[name].encode([], []).shape == (0, TEACHERS[name].dim)


@pytest.mark.parametrize("name", ["all-minilm-l6-v2", "wordllama-256"])
def test_related_texts_are_closer(name: str, encoders: dict[str, Encoder]) -> None:
    three = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Stock prices fell today."]
    vectors = encoders[name].encode(three, passages(three))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_it_is_sentence_transformers_own_vector(
    encoders: dict[str, Encoder], texts: list[str]
) -> None:
    teacher = TEACHERS["all-minilm-l6-v2"]
    reference = SentenceTransformer(str(model_directory(teacher.model)), device="cpu")
    assert reference.max_seq_length == teacher.max_tokens
    expected = reference.encode([*texts, ""], normalize_embeddings=True)
    found = encoders[teacher.name].encode([*texts, ""], passages([*texts, ""]))
    cosines = np.einsum("nd,nd->n", found.astype(np.float64), expected.astype(np.float64))
    assert cosines.min() > 1 - 1e-5
    assert max(len(ids) for ids in reference.tokenizer(texts)["input_ids"]) > 256


def test_bfloat16_is_close_to_float32(vectors_of: dict[str, np.ndarray], texts: list[str]) -> None:
    teacher = TEACHERS["all-minilm-l6-v2"].model_copy(update={"dtype": "bfloat16"})
    found = load_encoder(teacher, "cpu").encode(texts, passages(texts))
    expected = vectors_of[teacher.name]
    cosines = np.einsum("nd,nd->n", found, expected)
    assert 0.999 < cosines.min() < 1 - 1e-7  # it did compute in bfloat16
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_the_token_budget_does_not_change_the_vectors(
    vectors_of: dict[str, np.ndarray], texts: list[str]
) -> None:
    teacher = TEACHERS["all-minilm-l6-v2"]
    small = SentenceTransformersEncoder(teacher, "cpu", token_budget=300)
    np.testing.assert_allclose(
        small.encode(texts, passages(texts)),
        vectors_of[teacher.name],
        atol=1e-5,
    )


def test_pooling_without_the_prompt(tmp_path: Path, texts: list[str]) -> None:
    """Models that leave the prompt's tokens out of the mean, as sentence-transformers does."""
    teacher = TEACHERS["all-minilm-l6-v2"]
    reference = SentenceTransformer(str(model_directory(teacher.model)), device="cpu")
    reference[1].include_prompt = False
    reference.save(str(tmp_path / "model"))
    prompts = {"question": "find the passage that answers: "}
    changes = {"model": str(tmp_path / "model"), "sha256": None, "prompts": prompts}
    changed = type(teacher).model_validate({**teacher.model_dump(), **changes})
    some = texts[:6]
    found = load_encoder(changed, "cpu").encode(some, ["question", "passage"] * 3)
    asked = reference.encode(some, prompt=prompts["question"], normalize_embeddings=True)
    plain = reference.encode(some, normalize_embeddings=True)
    np.testing.assert_allclose(found[::2], asked[::2], atol=1e-5)
    np.testing.assert_allclose(found[1::2], plain[1::2], atol=1e-5)


def test_long_texts_and_a_tokenizer_without_padding(
    tmp_path: Path, encoders: dict[str, Encoder]
) -> None:
    import json
    import shutil

    teacher = TEACHERS["all-minilm-l6-v2"]
    copied = Path(shutil.copytree(model_directory(teacher.model), tmp_path / "model"))
    (copied / "special_tokens_map.json").unlink(missing_ok=True)
    for file in ("tokenizer_config.json", "tokenizer.json"):
        settings = json.loads((copied / file).read_text())
        for name in ("pad_token", "padding"):
            settings.pop(name, None)
        (copied / file).write_text(json.dumps(settings))
    changed = teacher.model_copy(update={"model": str(copied)})
    texts = ["river " * 17_000, "river " * 400, "a", ""]
    found = load_encoder(changed, "cpu").encode(texts, passages(texts))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    wanted = encoders[teacher.name].encode(texts, passages(texts))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_missing_or_misshapen_tensor_is_a_sentence(tmp_path: Path) -> None:
    import shutil

    import torch

    from tests.teacher_cache.tiny_models import change_tensors

    teacher = TEACHERS["all-minilm-l6-v2"]
    place = Path(shutil.copytree(model_directory(teacher.model), tmp_path / "model"))
    changed = teacher.model_copy(update={"model": str(place), "sha256": None})
    name = "encoder.layer.3.output.dense.bias"
    change_tensors(place / "model.safetensors", lambda tensors: tensors.pop(name))
    with pytest.raises(PipeError, match=name.replace(".", r"\.")):
        load_encoder(changed, "cpu")
    change_tensors(
        place / "model.safetensors", lambda tensors: tensors.update({name: torch.ones(383)})
    )
    with pytest.raises(PipeError, match="cannot be loaded"):
        load_encoder(changed, "cpu")


def test_texts_longer_than_the_model_are_refused() -> None:
    teacher = TEACHERS["all-minilm-l6-v2"].model_copy(update={"max_tokens": 513})
    with pytest.raises(PipeError, match="expected at most 512"):
        load_encoder(teacher, "cpu")


def test_a_directory_without_a_model_is_a_sentence(tmp_path: Path) -> None:
    teacher = dummy(kind="sentence-transformers", model=str(tmp_path))
    with pytest.raises(PipeError, match="cannot be loaded"):
        load_encoder(teacher, "cpu")


def test_it_is_wordllamas_own_vector(encoders: dict[str, Encoder], texts: list[str]) -> None:
    import wordllama

    short = [text[:400] for text in texts]  # the package does not cut texts off
    own = wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    ).embed(short, norm=True)
    found = encoders["wordllama-256"].encode(short, passages(short))
    np.testing.assert_allclose(found, own, atol=1e-5)


def test_a_text_without_tokens_has_no_direction(encoders: dict[str, Encoder]) -> None:
    with pytest.raises(PipeError, match=r"text 1 of 2 has no tokens for wordllama-256 \(''\)"):
        encoders["wordllama-256"].encode(["words", ""], ["passage", "passage"])
    unknown = encoders["wordllama-256"].encode(["\U000f0000\x01"], ["passage"])
    assert np.isfinite(unknown).all()


@pytest.mark.parametrize("name", SMALL)
def test_a_lone_surrogate_is_a_sentence(name: str, encoders: dict[str, Encoder]) -> None:
    with pytest.raises(
        PipeError, match=r"text 1 of 2 holds the lone surrogate U\+D83D at char.* 5"
    ):
        encoders[name].encode(["fine", "half \ud83d"], ["passage", "question"])


def test_wordllama_weights_are_checked() -> None:
    teacher = TEACHERS["wordllama-256"]
    with pytest.raises(PipeError, match="found other weights"):
        load_encoder(teacher.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(PipeError, match=r"found no weights l2_supercat_100 .*l2_supercat_256"):
        load_encoder(teacher.model_copy(update={"dim": 100}))


def test_wordllama_leaves_logging_as_it_was(encoders: dict[str, Encoder]) -> None:
    assert logging.getLogger().level == logging.WARNING


def test_dummy_vectors_follow_the_words() -> None:
    encoder = load_encoder(dummy(dim=256))
    three = ["green river stone", "stone river green lamp", "quiet window seven"]
    vectors = encoder.encode(three, passages(three))
    assert vectors[0] @ vectors[1] > 0.6
    assert abs(vectors[0] @ vectors[2]) < 0.3
    assert np.isfinite(encoder.encode([""], ["passage"])).all()
    other = load_encoder(dummy(dim=256, model="another seed")).encode(three, passages(three))
    assert abs(other[0] @ vectors[0]) < 0.3
