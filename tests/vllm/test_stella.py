"""Stella's tower in vLLM: both attentions, both end-token rules, every head."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.errors import PipeError
from teacher_cache.canary import check_attention
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import as_factored
from teacher_cache.encoders.stella import StellaEncoder
from teacher_cache.encoders.vllm.stella import VllmStellaEncoder
from teacher_cache.engines import check_agreement
from teacher_cache.linear_head import LinearHead
from tests.teacher_cache.small import dummy
from tests.teacher_cache.tiny_models import change_tensors, make_stella

PROMPT = "Instruct: find it.\nQuery: "
TEXTS = ["a short text", "bcd", "a longer text " * 9, "naïve 東京 🚀", "\nnewline first "]
ROLES = ["passage"] * len(TEXTS) + ["question"] * len(TEXTS)

Settings = Callable[..., TeacherConfig]


def prefixed(tensors: dict[str, Any]) -> None:
    """Names as in the released weights."""
    for name in list(tensors):
        tensors[f"model.{name}"] = tensors.pop(name)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    directory = make_stella(tmp_path_factory.mktemp("stella") / "model", width=64, heads=2)

    def teacher(dim: int = 24, directory: Path = directory, **changes: Any) -> TeacherConfig:
        given = {"max_tokens": 64, "prompts": {"question": PROMPT}, **changes}
        return dummy("stella", dim, kind="stella", model=str(directory), **given)

    return teacher


@pytest.fixture(scope="module")
def tower(settings: Settings) -> VllmStellaEncoder:
    return VllmStellaEncoder(settings())


@pytest.mark.parametrize("eos", ["none", "append"])
@pytest.mark.parametrize("dim", [24, 40])
def test_the_vectors_of_transformers(
    settings: Settings, tower: VllmStellaEncoder, dim: int, eos: str
) -> None:
    teacher = settings(dim, eos=eos)
    found = tower.under(teacher)
    wanted = StellaEncoder(teacher, "cpu")
    vectors = wanted.encode(TEXTS * 2, ROLES)
    np.testing.assert_allclose(found.encode(TEXTS * 2, ROLES), vectors, rtol=0, atol=1e-4)
    states = as_factored(found, teacher).encode_states(TEXTS * 2, ROLES)
    np.testing.assert_allclose(states, wanted.encode_states(TEXTS * 2, ROLES), rtol=0, atol=1e-4)
    first = found.first_states(TEXTS)
    np.testing.assert_allclose(first, wanted.first_states(TEXTS), rtol=0, atol=1e-4)
    assert found.parameters == wanted.parameters
    assert found.encode([], []).shape == (0, dim)


def test_the_last_word_moves_the_first_state(settings: Settings, tower: VllmStellaEncoder) -> None:
    check_attention(settings(), tower)
    one, other = tower.first_states(["a text that ends so", "a text that ends up"])
    assert np.linalg.norm(one - other) > 1e-4


def test_a_spoiled_head_stops_the_comparison(settings: Settings, tower: VllmStellaEncoder) -> None:
    teacher = settings()
    wanted = StellaEncoder(teacher, "cpu").encode(TEXTS, ["passage"] * 5)
    spoiled = tower.under(teacher)
    weight = spoiled.head.weight.copy()
    weight[0] += 1
    spoiled.head = LinearHead(weight, spoiled.head.bias)
    with pytest.raises(PipeError, match=r"row \d from stella on the engine vllm has the cosine 0"):
        check_agreement("vllm", teacher, spoiled.encode(TEXTS, ["passage"] * 5), wanted)


def test_what_it_was_not_started_for_is_a_sentence(
    settings: Settings, tower: VllmStellaEncoder
) -> None:
    with pytest.raises(PipeError, match="expected bidirectional, with which vLLM was started"):
        tower.under(settings(attention="causal"))
    with pytest.raises(PipeError, match="expected at most 64, for which vLLM was started"):
        tower.under(settings(max_tokens=65))
    with pytest.raises(PipeError, match="no head 2_Dense_32"):
        tower.under(settings(32))
    with pytest.raises(PipeError, match="text 1 of 2 has no tokens"):
        tower.encode(["a", ""], ["passage"] * 2)


def test_a_causal_tower_of_the_released_names(
    settings: Settings, tower: VllmStellaEncoder, tmp_path: Path
) -> None:
    directory = make_stella(tmp_path / "model", width=64, heads=2)
    change_tensors(directory / "model.safetensors", prefixed)
    teacher = settings(directory=directory, attention="causal")
    causal = VllmStellaEncoder(teacher)
    check_attention(teacher, causal)
    wanted = StellaEncoder(teacher, "cpu").encode(TEXTS, ["passage"] * 5)
    found = causal.encode(TEXTS, ["passage"] * 5)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    assert np.abs(tower.encode(TEXTS, ["passage"] * 5) - found).max() > 1e-2


def test_what_vllm_cannot_run_is_a_sentence(settings: Settings, tmp_path: Path) -> None:
    teacher = settings(directory=make_stella(tmp_path / "model", width=32, heads=4))
    with pytest.raises(PipeError, match=r"vLLM .* `--engine transformers`"):
        VllmStellaEncoder(teacher).encode(["a"], ["passage"])
