"""Compiled towers and attention kernels: the same vectors, or a sentence."""

import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from data_prep.errors import PipeError, UsageError
from pipelines.cli import cli
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import load_encoder
from teacher_cache.encoders.tower_options import AS_USUAL, KERNELS, TowerOptions
from teacher_cache.engines import check_engine
from tests.teacher_cache.small import dummy
from tests.teacher_cache.tiny_models import byte_tokenizer, make_nv_embed, make_stella

COMPILED = TowerOptions(compiled=True)
FLASH = TowerOptions("flash_attention_2")
TEXTS = ["a short text", "bcd", "a longer text " * 9, "naïve 東京 🚀", "another one", "x" * 40]
ROLES = ["passage", "question"] * 3
KINDS = {"stella": 24, "nv-embed": 48, "sentence-transformers": 32}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    stella = make_stella(root / "stella")
    nv_embed = make_nv_embed(root / "nv")
    return {"stella": stella, "nv-embed": nv_embed, "sentence-transformers": stella}


def teacher(models: dict[str, Path], kind: str, **changes: Any) -> TeacherConfig:
    prompts = {"question": "q: "}
    settings = {"kind": kind, "model": str(models[kind]), "prompts": prompts, **changes}
    return dummy("t", KINDS[kind], **settings)


def check_equal(config: TeacherConfig, options: TowerOptions) -> None:
    usual, other = load_encoder(config, "cpu"), load_encoder(config, "cpu", options=options)
    for count in (6, 1, 4):
        expected = usual.encode(TEXTS[:count], ROLES[:count])
        found = other.encode(TEXTS[:count], ROLES[:count])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_traced_tower_gives_the_same_vectors(
    models: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of ``torch.compile`` but the code that it would write."""
    traced: list[str] = []

    def trace(function: Any, *, dynamic: bool) -> Any:
        traced.append(type(function.__self__).__name__)
        assert dynamic
        return compile_(function, dynamic=True, backend="eager")

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", trace)
    check_equal(teacher(models, kind), COMPILED)
    tower = "MistralModel" if kind == "nv-embed" else "Qwen2Model"
    assert traced == [tower, "LatentAttention"][: 1 + (kind == "nv-embed")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_tower_gives_the_same_vectors(models: dict[str, Path], kind: str) -> None:
    check_equal(teacher(models, kind), COMPILED)


def test_both_ways_of_looking_share_a_compiled_tower(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    both, causal = teacher(models, "stella"), teacher(models, "stella", attention="causal")
    encoder = load_encoder(both, "cpu", options=COMPILED)
    for config in (both, causal, both):
        expected = load_encoder(config, "cpu").encode(TEXTS, ROLES)
        found = encoder.under(config).encode(TEXTS, ROLES)  # type: ignore[attr-defined]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_a_sentence(
    models: dict[str, Path], tmp_path: Path
) -> None:
    code = (
        "import sys; from tests.teacher_cache.test_tower_options import *\n"
        "models = dict.fromkeys(KINDS, Path(sys.argv[1]))\n"
        "encoder = load_encoder(teacher(models, 'stella'), 'cpu', options=COMPILED)\n"
        "try: encoder.encode(TEXTS, ROLES)\n"
        "except PipeError as error: print(error)"
    )
    hidden = {"CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "c")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(models["stella"])],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **hidden},
    )
    assert done.stdout.startswith("Qwen2Model cannot be compiled on this machine (")
    assert "expected a C++ compiler such as g++" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_is_the_one_that_was_asked_for(models: dict[str, Path], kind: str) -> None:
    check_equal(teacher(models, kind), TowerOptions("eager"))
    for kernel in ("sdpa", "eager"):
        encoder: Any = load_encoder(teacher(models, kind), "cpu", options=TowerOptions(kernel))
        tower = encoder._model[0].auto_model if hasattr(encoder, "_model") else encoder._tower
        assert tower.config._attn_implementation == kernel


def test_what_cannot_be_is_refused_before_anything_is_loaded(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = teacher(models, "nv-embed", dtype="bfloat16")
    assert KERNELS["flash_attention_2"] == "flash_attn"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PipeError, match=r"'flash_attn' is not installed.*pip install flash-attn"):
        check_engine("transformers", config, FLASH)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    check_engine("transformers", config, FLASH)
    with pytest.raises(UsageError, match="found the dtype float32 for teacher t, expected bfloat"):
        check_engine("transformers", teacher(models, "nv-embed"), FLASH)
    with pytest.raises(UsageError, match="found the attention kernel 'quick', expected one of"):
        check_engine("transformers", config, TowerOptions("quick"))
    with pytest.raises(UsageError, match="found --compile for teacher dummy of kind dummy"):
        check_engine("transformers", dummy(), COMPILED)
    both = TowerOptions("eager", compiled=True)
    with pytest.raises(UsageError, match="found --kernel eager --compile for the engine vllm"):
        check_engine("vllm", config, both)
    check_engine("vllm", config, AS_USUAL)


def test_a_static_model_has_nothing_to_compile(tmp_path: Path) -> None:
    static = StaticEmbedding(byte_tokenizer("<unk>"), embedding_dim=16)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path))
    config = dummy("s", 16, kind="sentence-transformers", model=str(tmp_path))
    with pytest.raises(PipeError, match=r"found no transformer in .*, expected one for --compile"):
        load_encoder(config, "cpu", options=COMPILED)


def test_the_command_hands_them_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr("pipelines.teach.teach", lambda *rest: given.extend(rest))
    command = ["teach", "--recipe", "laptop", "--run", str(tmp_path / "run")]
    done = CliRunner().invoke(cli, [*command, "--compile", "--kernel", "eager"])
    assert done.exit_code == 0, done.output
    assert given[-1] == TowerOptions("eager", compiled=True)
