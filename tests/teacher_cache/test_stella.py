"""Stella's adapter: sentence-transformers' vectors, the four combinations, the heads."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense

from data_prep.errors import PipeError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.stella import StellaEncoder
from teacher_cache.encoders.tower_options import TowerOptions
from teacher_cache.manifest import TeacherEntry
from tests.teacher_cache.small import dummy
from tests.teacher_cache.tiny_models import change_json, change_tensors, make_stella

PROMPT = "Instruct: find it.\nQuery: "
TEXTS = [
    "a short text",
    "bcd",
    "a longer text " * 9,
    "naïve 東京 🚀",
    "\nnewline first ",
    "another one",
]
FOUR = [(attention, eos) for attention in ("bidirectional", "causal") for eos in ("none", "append")]


def teacher(directory: Path, dim: int = 24, **changes: Any) -> TeacherConfig:
    settings = {"max_tokens": 64, "prompts": {"question": PROMPT}, **changes}
    return dummy("stella", dim, kind="stella", model=str(directory), **settings)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stella(tmp_path_factory.mktemp("stella") / "model")


@pytest.fixture(scope="module")
def closing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with a tokenizer that puts the end token behind every text by itself."""
    return make_stella(tmp_path_factory.mktemp("stella") / "closing", closes=True)


@pytest.fixture
def copied(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def reference(directory: Path, dim: int, *, causal: bool) -> SentenceTransformer:
    """What a user who knows the trap would load."""
    model = SentenceTransformer(str(directory), device="cpu")
    model[0].auto_model.config.is_causal = causal
    model.append(Dense.load(str(directory / f"2_Dense_{dim}")))
    return model


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("dim", [24, 40])
@pytest.mark.parametrize("causal", [False, True])
def test_it_is_sentence_transformers_vector_with_the_chosen_head(
    tiny: Path, dim: int, causal: bool, kernel: str
) -> None:
    model = reference(tiny, dim, causal=causal)
    settings = teacher(tiny, dim, attention="causal" if causal else "bidirectional")
    encoder = StellaEncoder(settings, "cpu", options=TowerOptions(kernel))
    wanted = model.encode(TEXTS, normalize_embeddings=True)
    asked = model.encode(TEXTS, prompt=PROMPT, normalize_embeddings=True)
    found = encoder.encode(TEXTS * 2, ["passage"] * 6 + ["question"] * 6)
    np.testing.assert_allclose(found, np.concatenate([wanted, asked]), rtol=0, atol=1e-5)
    alone = [encoder.encode([text], ["passage"])[0] for text in TEXTS]
    np.testing.assert_allclose(np.stack(alone), wanted, rtol=0, atol=1e-5)


def test_the_end_token_is_what_the_tokenizer_would_have_put_there(
    tiny: Path, closing: Path
) -> None:
    roles = ["passage"] * 6
    wanted = reference(closing, 24, causal=False).encode(TEXTS, normalize_embeddings=True)
    for directory in (tiny, closing):
        found = StellaEncoder(teacher(directory, eos="append"), "cpu").encode(TEXTS, roles)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    wanted = reference(tiny, 24, causal=False).encode(TEXTS, normalize_embeddings=True)
    found = StellaEncoder(teacher(closing, eos="none"), "cpu").encode(TEXTS, roles)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_the_four_combinations_give_four_vectors(tiny: Path) -> None:
    loaded = StellaEncoder(teacher(tiny), "cpu")
    settings = [teacher(tiny, attention=attention, eos=eos) for attention, eos in FOUR]
    variants = [loaded.under(setting) for setting in settings]
    vectors = np.stack([one.encode(TEXTS, ["passage"] * 6) for one in variants])
    for one in range(4):
        for other in range(one):
            assert np.linalg.norm(vectors[one] - vectors[other], axis=1).min() > 1e-3
    again = StellaEncoder(settings[3], "cpu").encode(TEXTS, ["passage"] * 6)
    np.testing.assert_allclose(vectors[3], again, atol=1e-6)
    assert len({TeacherEntry.of(setting).fingerprint for setting in settings}) == 4


def test_the_rules_are_settings_of_this_kind_only(tiny: Path) -> None:
    identity = teacher(tiny).identity()
    assert (identity["attention"], identity["eos"]) == ("bidirectional", "none")
    assert not {"attention", "eos", "golden"} & dummy().identity().keys()
    with pytest.raises(ValueError, match="kind 'dummy' has no such setting"):
        dummy(attention="causal")
    with pytest.raises(ValueError, match="Input should be 'append' or 'none'"):
        teacher(tiny, eos="maybe")
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        teacher(tiny, causal=True)


def test_causal_states_do_not_see_what_follows(tiny: Path) -> None:
    texts = ["a text that ends so", "a text that ends up"]
    for attention, sees in (("bidirectional", True), ("causal", False)):
        states = StellaEncoder(teacher(tiny, attention=attention), "cpu").first_states(texts)
        assert (np.linalg.norm(states[0] - states[1]) > 1e-4) == sees


def test_weights_saved_with_a_prefix_load(copied: Path, tiny: Path) -> None:
    def prefixed(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[f"model.{name}"] = tensors.pop(name)
        tensors["lm_head.weight"] = torch.ones(2, 2)

    change_tensors(copied / "model.safetensors", prefixed)
    found = StellaEncoder(teacher(copied), "cpu").encode(TEXTS, ["passage"] * 6)
    wanted = StellaEncoder(teacher(tiny), "cpu").encode(TEXTS, ["passage"] * 6)
    np.testing.assert_array_equal(found, wanted)


def test_empty_long_and_broken_texts(tiny: Path) -> None:
    plain = StellaEncoder(teacher(tiny), "cpu")
    with pytest.raises(PipeError, match="text 1 of 2 has no tokens"):
        plain.encode(["a", ""], ["passage"] * 2)
    with pytest.raises(PipeError, match="lone surrogate"):
        plain.encode(["\udcff"], ["passage"])
    long = plain.encode(["ab" * 50_000, "ab" * 32], ["passage"] * 2)
    np.testing.assert_allclose(long[0], long[1], atol=1e-5)
    ended = plain.under(teacher(tiny, eos="append"))
    assert np.isfinite(ended.encode([""], ["passage"])).all()


def test_a_head_that_is_not_there_or_is_another_is_a_sentence(copied: Path) -> None:
    with pytest.raises(PipeError, match=r"no head 2_Dense_32 .* \(24, 40\)"):
        StellaEncoder(teacher(copied, 32), "cpu")
    head = copied / "2_Dense_24"
    weights = head / "model.safetensors"
    change_tensors(weights, lambda tensors: tensors.update({"linear.bias": torch.ones(23)}))
    with pytest.raises(PipeError, match=r"linear\.bias of shape \(23,\)"):
        StellaEncoder(teacher(copied), "cpu")
    change_tensors(weights, lambda tensors: tensors.pop("linear.bias"))
    with pytest.raises(PipeError, match=r"no tensor linear\.bias"):
        StellaEncoder(teacher(copied), "cpu")
    change_json(head / "config.json", lambda config: config.update(bias=False))
    assert StellaEncoder(teacher(copied), "cpu").dim == 24
    change_json(head / "config.json", lambda config: config.pop("activation_function"))
    with pytest.raises(PipeError, match="found the activation Tanh"):
        StellaEncoder(teacher(copied), "cpu")


def test_a_wrong_tower_is_a_sentence(copied: Path) -> None:
    weights = copied / "model.safetensors"
    change_tensors(weights, lambda tensors: tensors.pop("layers.1.self_attn.q_proj.bias"))
    with pytest.raises(PipeError, match=r"no tensor layers\.1\.self_attn\.q_proj\.bias"):
        StellaEncoder(teacher(copied), "cpu")


def test_no_end_token_to_append_is_a_sentence(copied: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (copied / name).unlink(missing_ok=True)
    assert StellaEncoder(teacher(copied), "cpu").encode(["a"], ["passage"]).shape == (1, 24)
    with pytest.raises(PipeError, match="found no end token"):
        StellaEncoder(teacher(copied, eos="append"), "cpu")
    assert "is_causal" not in json.loads((copied / "config.json").read_text())
