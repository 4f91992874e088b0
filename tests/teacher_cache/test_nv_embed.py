"""NV-Embed-v2's adapter: the reference's vectors, a plain computation's, and broken checkpoints."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data_prep.errors import PipeError
from teacher_cache.config import TeacherConfig
from teacher_cache.encoders import load_encoder
from teacher_cache.encoders.latent_attention import LatentSizes
from teacher_cache.encoders.nv_embed import NvEmbedEncoder
from teacher_cache.encoders.tower_options import TowerOptions
from tests.teacher_cache.small import dummy
from tests.teacher_cache.tiny_models import (
    NV_SIZES,
    change_json,
    change_tensors,
    make_nv_embed,
    plain_nv_embed,
)

ROOT = Path(__file__).parents[2]
GOLDEN = Path(os.environ.get("JASPER_SHARED", ROOT.parent / "shared")) / "golden/nv-embed-v2-tiny"
TOWER, POOLER = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
LATENTS = "latent_attention_model.latents"
TEXTS = ["one", "a longer text, with more words", "", "naïve 東京 🚀", "x" * 300]


def teacher(directory: Path, **changes: Any) -> TeacherConfig:
    settings = {"dim": NV_SIZES["width"], "max_tokens": 512, "dtype": "float32", **changes}
    return dummy(kind="nv-embed", model=str(directory), **settings)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_nv_embed(tmp_path_factory.mktemp("nv-embed") / "model")


@pytest.fixture
def copied(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


@pytest.mark.shared
@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden vectors; set JASPER_SHARED")
@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_the_reference_implementations_vectors(kernel: str) -> None:
    """Texts x cases, each text alone and all of them mixed, questions beside passages."""
    golden = json.loads((GOLDEN / "golden.json").read_text())
    expected = np.load(GOLDEN / "golden.npz")
    texts, cases = golden["texts"], golden["cases"]
    instruction = next(case["instruction"] for case in cases if case["instruction"])
    settings = teacher(GOLDEN, dim=64, max_tokens=4096, prompts={"question": instruction})
    encoder = NvEmbedEncoder(settings, "cpu", options=TowerOptions(kernel))
    for length in sorted({case["max_length"] for case in cases}):
        cut = encoder.under(settings.model_copy(update={"max_tokens": length}))
        alike = [case for case in cases if case["max_length"] == length]
        roles = [role for case in alike for role in [_role(case)] * len(texts)]
        wanted = np.concatenate([expected[case["name"]] for case in alike])
        many = texts * len(alike)
        np.testing.assert_allclose(cut.encode(many, roles), wanted, rtol=0, atol=1e-5)
        alone = [cut.encode([text], [role])[0] for text, role in zip(many, roles, strict=True)]
        np.testing.assert_allclose(np.stack(alone), wanted, rtol=0, atol=1e-5)


@pytest.mark.shared
@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden vectors; set JASPER_SHARED")
def test_the_reference_vectors_without_the_latent_fields(tmp_path: Path) -> None:
    copied = tmp_path / "model"
    shutil.copytree(GOLDEN, copied, copy_function=shutil.copyfile)
    copied.chmod(0o755)
    bare = {"latent_attention_config": {"model_type": "latent_attention"}}
    change_json(copied / "config.json", lambda config: config.update(bare))
    golden = json.loads((GOLDEN / "golden.json").read_text())
    encoder = NvEmbedEncoder(teacher(copied, dim=64, max_tokens=4096), "cpu")
    found = encoder.encode(golden["texts"], ["passage"] * len(golden["texts"]))
    wanted = np.load(GOLDEN / "golden.npz")["passage"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def _role(case: dict[str, str]) -> str:
    return "question" if case["instruction"] else "passage"


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_another_shape_against_a_plain_computation(tiny: Path, kernel: str) -> None:
    prompt = "Instruct: find it\nQuery: "
    settings = teacher(tiny, prompts={"question": prompt}, max_tokens=200)
    encoder = NvEmbedEncoder(settings, "cpu", options=TowerOptions(kernel))
    tensors = load_file(tiny / TOWER) | load_file(tiny / POOLER)
    roles = ["passage", "question"] * len(TEXTS)
    found = encoder.encode([text for text in TEXTS for _ in "pq"], roles)
    for vector, text, role in zip(found, [t for t in TEXTS for _ in "pq"], roles, strict=True):
        asked = prompt if role == "question" else ""
        ids = [1, *_bytes(asked + text), 2][:200]
        wanted = plain_nv_embed(tensors, ids, len(asked.encode())).numpy()
        np.testing.assert_allclose(vector, wanted, rtol=0, atol=1e-5)


def _bytes(text: str) -> list[int]:
    from tests.teacher_cache.tiny_models import byte_tokenizer

    return byte_tokenizer("<unk>", "<s>", "</s>").encode(text).ids


def test_batches_and_budget_do_not_change_the_vectors(tiny: Path) -> None:
    together = NvEmbedEncoder(teacher(tiny), "cpu").encode(TEXTS, ["passage"] * 5)
    small = NvEmbedEncoder(teacher(tiny), "cpu", token_budget=40)
    np.testing.assert_allclose(small.encode(TEXTS, ["passage"] * 5), together, atol=1e-5)
    assert small.encode([], []).shape == (0, NV_SIZES["width"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_close(tiny: Path, dtype: str) -> None:
    wanted = NvEmbedEncoder(teacher(tiny), "cpu").encode(TEXTS, ["passage"] * 5)
    found = NvEmbedEncoder(teacher(tiny, dtype=dtype), "cpu").encode(TEXTS, ["passage"] * 5)
    cosines = np.einsum("nd,nd->n", found, wanted)
    assert 0.99 < cosines.min() < 1 - 1e-7


def test_every_token_sees_every_other(tiny: Path) -> None:
    encoder = NvEmbedEncoder(teacher(tiny), "cpu")
    one, other = encoder.first_states(
        ["some long text that ends so", "some long text that ends up"]
    )
    assert np.linalg.norm(one - other) > 1e-4


def test_one_file_without_an_index_loads(copied: Path, tiny: Path) -> None:
    from safetensors.torch import save_file

    tensors = load_file(copied / TOWER) | load_file(copied / POOLER)
    for name in (TOWER, POOLER, "model.safetensors.index.json"):
        (copied / name).unlink()
    save_file(tensors, copied / "model.safetensors", {"format": "pt"})
    found = NvEmbedEncoder(teacher(copied), "cpu").encode(TEXTS, ["passage"] * 5)
    wanted = NvEmbedEncoder(teacher(tiny), "cpu").encode(TEXTS, ["passage"] * 5)
    np.testing.assert_array_equal(found, wanted)


def test_a_tokenizer_without_padding_and_texts_of_any_length(copied: Path) -> None:
    assert "pad_token" not in json.loads((copied / "tokenizer_config.json").read_text())
    encoder = NvEmbedEncoder(teacher(copied), "cpu")
    long = "word " * 20_000
    found = encoder.encode([long, "", long[:600]], ["passage"] * 3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)  # both are cut off at 512 tokens


def test_a_lone_surrogate_is_a_sentence(tiny: Path) -> None:
    encoder = NvEmbedEncoder(teacher(tiny), "cpu")
    with pytest.raises(PipeError, match=r"text 1 of 2 holds the lone surrogate U\+D83D at char"):
        encoder.encode(["fine", "half \ud83d"], ["passage"] * 2)


def test_sizes_that_the_config_does_not_name(copied: Path, tiny: Path) -> None:
    """The released one names none: heads are then as wide as the tower, which these are not."""
    path = copied / "config.json"
    wanted = NvEmbedEncoder(teacher(tiny), "cpu").encode(TEXTS, ["passage"] * 5)

    def name_only(**sizes: Any) -> NvEmbedEncoder:
        change_json(path, lambda config: config.update(latent_attention_config=sizes))
        return NvEmbedEncoder(teacher(copied), "cpu")

    with pytest.raises(PipeError, match=r"latent attention of 60 numbers .* heads of 48, 1 of"):
        name_only(model_type="latent_attention")
    for enough in ({"num_cross_heads": 3}, {"cross_dim_head": 20}):
        np.testing.assert_array_equal(name_only(**enough).encode(TEXTS, ["passage"] * 5), wanted)
    with pytest.raises(PipeError, match=r"latents of shape \(10, 40\) .* expected \(11, 40\)"):
        name_only(num_cross_heads=3, num_latents_value=11)
    with pytest.raises(PipeError, match=r"expected heads of 8, 3 of them"):
        name_only(num_cross_heads=3, cross_dim_head=8)
    with pytest.raises(PipeError, match="found 0 for num_cross_heads"):
        name_only(num_cross_heads=0)


def test_the_released_configs_sizes_are_the_released_models() -> None:
    released = {
        "latent_attention_model.latents": (512, 4096),
        "latent_attention_model.cross_attend_blocks.0.fn.to_q.weight": (32768, 4096),
    }
    sizes = LatentSizes.of({"model_type": "latent_attention"}, released, 4096, Path())
    assert sizes == LatentSizes(num_latents=512, heads=8, head_dim=4096)
    released["latent_attention_model.latents"] = (511, 4096)
    assert LatentSizes.of({}, released, 4096, Path()).num_latents == 512


BROKEN: dict[str, tuple[str, Callable[[dict[str, torch.Tensor]], object], str]] = {
    "missing in the tower": (
        TOWER,
        lambda tensors: tensors.pop("embedding_model.layers.1.mlp.up_proj.weight"),
        r"no tensor embedding_model\.layers\.1\.mlp\.up_proj\.weight",
    ),
    "missing in the pooler": (POOLER, lambda tensors: tensors.pop(LATENTS), "no tensor latent_att"),
    "a latent missing": (
        POOLER,
        lambda tensors: tensors.update({LATENTS: tensors[LATENTS][1:].clone()}),
        r"latents of shape \(9, 40\) .* expected \(10, 40\)",
    ),
    "no matrix": (
        POOLER,
        lambda tensors: tensors.update({LATENTS: torch.ones(10)}),
        r"latents of shape \(10,\) .* expected a matrix",
    ),
    "unexpected": (
        POOLER,
        lambda tensors: tensors.update({"embedding_model.layers.3.bias": torch.ones(3)}),
        r"found the tensor embedding_model\.layers\.3\.bias",
    ),
    "wrong shape": (
        TOWER,
        lambda tensors: tensors.update({"embedding_model.norm.weight": torch.ones(47)}),
        r"norm\.weight of shape \(47,\) .* expected \(48,\)",
    ),
    "wrong feed-forward": (
        POOLER,
        lambda tensors: tensors.update(
            {"latent_attention_model.cross_attend_blocks.1.fn.net.0.bias": torch.ones(5)}
        ),
        r"net\.0\.bias of shape \(5,\) .* expected \(384,\)",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_wrong_checkpoint_is_a_sentence(copied: Path, fault: str) -> None:
    file, change, message = BROKEN[fault]
    change_tensors(copied / file, change)
    with pytest.raises(PipeError, match=message):
        NvEmbedEncoder(teacher(copied), "cpu")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (POOLER, None, "cannot be read: the file is missing"),
        (TOWER, b"short", "cannot be read: the file is damaged"),
        ("model.safetensors.index.json", None, r"neither model\.safetensors nor"),
        ("config.json", None, "is missing"),
        ("config.json", b"[]", "found list in"),
        ("tokenizer.json", None, "tokenizer.* cannot be loaded"),
        ("tokenizer.json", b"{}", "tokenizer.* cannot be loaded"),
    ],
)
def test_a_wrong_file_is_a_sentence(
    copied: Path, file: str, content: bytes | None, message: str
) -> None:
    (copied / file).unlink()
    if content is not None:
        (copied / file).write_bytes(content)
    with pytest.raises(PipeError, match=message):
        NvEmbedEncoder(teacher(copied), "cpu")


def test_wrong_settings_are_a_sentence(tiny: Path, copied: Path) -> None:
    with pytest.raises(PipeError, match="expected at most 200000"):
        NvEmbedEncoder(teacher(tiny, max_tokens=200_001), "cpu")
    with pytest.raises(PipeError, match="expected more than 30, the tokens of its prompt"):
        NvEmbedEncoder(teacher(tiny, max_tokens=30, prompts={"question": "q" * 30}), "cpu")
    with pytest.raises(PipeError, match="found 48 numbers in a vector"):
        load_encoder(teacher(tiny, dim=47), "cpu")
    change_json(copied / "config.json", lambda c: c["text_config"].update(hidden_act="no such"))
    with pytest.raises(PipeError, match="not those of a mistral model"):
        NvEmbedEncoder(teacher(copied), "cpu")
    change_json(copied / "config.json", lambda c: c["text_config"].update(hidden_size="wide"))
    with pytest.raises(PipeError, match="not those of a mistral model"):
        NvEmbedEncoder(teacher(copied), "cpu")


def test_a_batch_that_does_not_fit_is_halved(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = NvEmbedEncoder(teacher(tiny), "cpu")
    many = [f"text {n} " * (1 + n % 7) for n in range(40)]
    wanted = encoder.encode(many, ["passage"] * 40)
    sizes: list[int] = []
    forward = encoder._forward

    def scarce(batch: dict[str, torch.Tensor], skip: torch.Tensor) -> torch.Tensor:
        sizes.append(batch["input_ids"].numel())
        if sizes[-1] > 300:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(batch, skip)

    monkeypatch.setattr(encoder, "_forward", scarce)
    np.testing.assert_allclose(encoder.encode(many, ["passage"] * 40), wanted, atol=1e-5)
    failed = [size for size in sizes if size > 300]
    assert failed
    assert sizes.index(failed[-1]) == len(failed) - 1  # the budget stays halved
    with pytest.raises(PipeError, match="a text of 502 tokens does not fit into the memory of cpu"):
        encoder.encode(["a" * 500], ["passage"])
