"""NV-Embed-v2 in vLLM through this project's plugin: transformers' vectors, and the reference's."""

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from teacher_cache.canary import check_attention
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.nv_embed import NvEmbedEncoder
from teacher_cache.encoders.vllm.nv_embed import VllmNvEmbedEncoder
from tests.teacher_cache.small import dummy
from tests.teacher_cache.test_nv_embed import GOLDEN
from tests.teacher_cache.tiny_models import NV_SIZES, make_nv_embed
from tests.vllm.wide_heads import widen_heads

PROMPT = "Instruct: Given a question, retrieve passages that answer the question\nQuery: "
TEXTS = ["one", "a longer text, with more words", "", "naïve 東京 🚀", "x" * 300]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> TeacherConfig:
    """The golden checkpoint; without it one of our own in its format."""
    directory, dim = GOLDEN, 64
    if not GOLDEN.is_dir():
        directory = make_nv_embed(tmp_path_factory.mktemp("nv-embed") / "model")
        dim = NV_SIZES["width"]
    wide = widen_heads(directory, tmp_path_factory.mktemp("wide") / "model")
    settings: dict[str, Any] = {"max_tokens": 4096, "prompts": {"question": PROMPT}}
    return dummy(dim=dim, kind="nv-embed", model=str(wide), **settings)


@pytest.fixture(scope="module")
def encoder(teacher: TeacherConfig) -> VllmNvEmbedEncoder:
    return VllmNvEmbedEncoder(teacher)


@pytest.mark.parametrize("max_tokens", [100, 512])
def test_the_vectors_of_transformers(
    teacher: TeacherConfig, encoder: VllmNvEmbedEncoder, max_tokens: int
) -> None:
    cut = teacher.model_copy(update={"max_tokens": max_tokens})
    wanted = NvEmbedEncoder(cut, "cpu")
    roles = ["passage"] * 5 + ["question"] * 5
    found = encoder.under(cut).encode(TEXTS * 2, roles)
    np.testing.assert_allclose(found, wanted.encode(TEXTS * 2, roles), rtol=0, atol=1e-4)
    assert encoder.parameters == wanted.parameters
    assert encoder.encode([], []).shape == (0, encoder.dim)
    assert np.abs(found[:5] - found[5:]).max() > 1e-2


def test_the_last_word_moves_the_first_state(
    teacher: TeacherConfig, encoder: VllmNvEmbedEncoder
) -> None:
    check_attention(teacher, encoder)


@pytest.mark.shared
@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden vectors; set JASPER_SHARED")
def test_the_reference_implementations_vectors(
    teacher: TeacherConfig, encoder: VllmNvEmbedEncoder
) -> None:
    golden = json.loads((GOLDEN / "golden.json").read_text())
    expected = np.load(GOLDEN / "golden.npz")
    texts = golden["texts"]
    for case in golden["cases"]:
        prompts = teacher.prompts.model_copy(update={"question": case["instruction"]})
        changes = {"max_tokens": case["max_length"], "prompts": prompts}
        role = "question" if case["instruction"] else "passage"
        found = encoder.under(teacher.model_copy(update=changes)).encode(texts, [role] * len(texts))
        np.testing.assert_allclose(found, expected[case["name"]], rtol=0, atol=1e-4)


def test_vllm_finds_the_plugin() -> None:
    found = {point.value for point in entry_points(group="vllm.general_plugins")}
    assert "teacher_cache.encoders.vllm.plugin:register" in found


def test_wide_heads_are_the_same_model(tmp_path: Path) -> None:
    narrow = make_nv_embed(tmp_path / "narrow")
    wide = widen_heads(narrow, tmp_path / "wide")
    settings = {"dim": NV_SIZES["width"], "kind": "nv-embed", "max_tokens": 512}
    one, other = (
        NvEmbedEncoder(dummy(model=str(directory), **settings), "cpu").encode(
            TEXTS, ["passage"] * 5
        )
        for directory in (narrow, wide)
    )
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
