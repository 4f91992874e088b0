"""Engines: which teachers they run, and that their vectors must be those of transformers."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from data_prep.corpus import Corpus
from data_prep.errors import PipeError, UsageError
from teacher_cache import engines
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders.dummy import DummyEncoder
from teacher_cache.encoders.vllm.sentence_transformers import vllm_pooling
from teacher_cache.engines import ENGINES, Engine, check_agreement, check_engine, load_for_corpus
from tests.teacher_cache.small import dummy
from tests.teacher_cache.tiny_models import make_stella


class Spoiled(DummyEncoder):
    """As if its weights were other ones."""

    def __init__(self, teacher: TeacherConfig, device: str) -> None:
        super().__init__(teacher.model_copy(update={"model": "another"}), device)


class Turned(DummyEncoder):
    """A little way off."""

    def encode(self, texts: Sequence[str], roles: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors = super().encode(texts, roles)
        vectors[:, 0] += 1e-3
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def place(kind: type) -> dict[str, str]:
    return {"dummy": f"{kind.__module__}:{kind.__name__}"}


@pytest.mark.parametrize("kind", [Spoiled, Turned])
def test_an_engine_is_compared_with_transformers(
    kind: type, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Engine(place(kind), compared=True)
    monkeypatch.setattr(engines, "ENGINES", {**ENGINES, "another": row})
    said: list[str] = []
    if kind is Spoiled:
        with pytest.raises(PipeError, match=r"row \d+ from dummy on the engine another has the co"):
            load_for_corpus("another", dummy(), corpus, said.append)
        assert not said
        return
    encoder = load_for_corpus("another", dummy(), corpus, said.append)
    assert isinstance(encoder, Turned)
    assert "least cosine with transformers 0.99" in said[0]
    assert "on 32 texts" in said[0]
    monkeypatch.setattr(engines, "ENGINES", {**ENGINES, "another": Engine(place(kind))})
    load_for_corpus("another", dummy(), corpus, said.append)
    assert len(said) == 1


def test_the_worst_text_decides() -> None:
    expected = np.eye(4, dtype=np.float32)
    found = expected.copy()
    found[2] = [0, 0, 0.9989, np.sqrt(1 - 0.9989**2)]
    with pytest.raises(PipeError, match=r"row 2 .* cosine 0\.9989 .* at least 0\.999"):
        check_agreement("vllm", dummy(), found, expected)
    found[2] = [0, 0, 0.9991, np.sqrt(1 - 0.9991**2)]
    assert check_agreement("vllm", dummy(), found, expected) == pytest.approx(0.9991)
    found[1] = np.nan
    with pytest.raises(PipeError, match=r"row 1 .* cosine nan"):
        check_agreement("vllm", dummy(), found, expected)


def test_what_an_engine_does_not_run_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UsageError, match="found the engine 'onnx', expected one of transformers"):
        check_engine("onnx", dummy())
    with pytest.raises(UsageError, match="teacher dummy of kind dummy for the engine vllm"):
        check_engine("vllm", dummy())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    runs = dummy(kind="nv-embed")
    with pytest.raises(PipeError, match=r"'vllm' is not installed.*jasper-distill\[vllm\]"):
        check_engine("vllm", runs)
    check_engine("transformers", runs)


def test_a_pooling_that_vllm_has_not_is_refused(tmp_path: Path) -> None:
    tower = Transformer(str(make_stella(tmp_path / "model")))
    assert vllm_pooling([tower, Pooling(32, "mean"), Normalize()], dummy()) == "MEAN"
    assert vllm_pooling([tower, Pooling(32, "lasttoken")], dummy()) == "LAST"
    assert vllm_pooling([tower, Pooling(32, "cls")], dummy()) == "CLS"
    for mode in ("max", "weightedmean", ("mean", "cls")):
        with pytest.raises(PipeError, match="found the pooling"):
            vllm_pooling([tower, Pooling(32, mode)], dummy())
    with pytest.raises(PipeError, match="found the modules Pooling, Transformer"):
        vllm_pooling([Pooling(32, "mean"), tower], dummy())
    with pytest.raises(PipeError, match="found the modules Transformer in"):
        vllm_pooling([tower], dummy())
    without = Pooling(32, "mean", include_prompt=False)
    assert vllm_pooling([tower, without], dummy()) == "MEAN"
    with pytest.raises(PipeError, match="found prompts for teacher dummy, expected none"):
        vllm_pooling([tower, without], dummy(prompts={"question": "q: "}))
