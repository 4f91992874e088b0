"""Checkpoints in the released Jasper's format become students, whole or as a start."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2Model

from data_prep.errors import PipeError
from student.config import StudentConfig
from student.encode import StudentEncoder
from student.image_tokens import image_text
from student.jasper_student import load_jasper
from student.model import Student
from student.start import load_start
from student.vision_config import VisionConfig
from teacher_cache.config import Prompts
from tests.student.jaspers import HIDDEN, IMAGE_TOKENS, PROMPT, WIDTHS, save_jasper, write_weights
from tests.student.tiny_students import byte_tokenizer
from tests.student.vision.towers import add_vision, pictures

TEXTS = ["a cat on the mat", "how far is the moon?", "the red dog ran"]


def plain_student(directory):
    """The same text encoder and heads, put together by hand."""
    weights = {n: v.float() for n, v in load_file(directory / "model.safetensors").items()}
    config = json.loads((directory / "config.json").read_text())["text_config"]
    text = Qwen2Model(
        Qwen2Config(
            **{k: v for k, v in config.items() if k not in {"architectures", "torch_dtype"}},
            is_causal=False,
        )
    )
    inner = {n.removeprefix("model."): v for n, v in weights.items() if n.startswith("model.")}
    text.load_state_dict(inner)
    assert text.config.rope_parameters["rope_theta"] == 1e6
    student = Student(
        text.eval(), byte_tokenizer(), max_tokens=64, prompts=Prompts(question=PROMPT),
        default_head="vector_linear_16",
    )  # fmt: skip
    student.add_heads({f"vector_linear_{width}": width for width in WIDTHS}, seed=0)
    heads = {n: v for n, v in weights.items() if n.startswith("vector_linear_")}
    student.heads.load_state_dict(heads)
    return student.eval()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_released_jasper_gives_the_vectors_of_its_weights(tmp_path, width):
    directory = save_jasper(tmp_path / "jasper")
    head = f"vector_linear_{width}"
    student, plain = load_jasper(directory), plain_student(directory)
    assert student.default_head == "vector_linear_16"
    assert student.max_tokens == 64
    for role in ("passage", "question"):
        found, expected = (
            StudentEncoder(model, head).encode(TEXTS, [role] * len(TEXTS))
            for model in (student, plain)
        )
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("tower", ["vision_model.vision_model.", "vision_model."])
@pytest.mark.parametrize("shards", [1, 3])
def test_its_images_become_vectors(tmp_path, tower, shards):
    student = load_jasper(save_jasper(tmp_path / "jasper", tower, shards))
    assert (student.vision.kind, student.vision.tokens) == ("adaptive", IMAGE_TOKENS)
    tokens = student.tokenizer([image_text(IMAGE_TOKENS)] * 2, return_tensors="pt")
    assert tokens["input_ids"].shape == (2, IMAGE_TOKENS + 2)
    with torch.inference_mode():
        pooled_BH = student.pooled(
            tokens["input_ids"], tokens["attention_mask"], student.vision.pixels(pictures())
        )
        vectors_BD = student.project(pooled_BH, "vector_linear_8")
    assert vectors_BD.isfinite().all()
    assert not torch.allclose(vectors_BD[0], vectors_BD[1])


def start(directory, heads, **settings):
    return StudentConfig(
        start=str(directory), max_tokens=64, heads=heads, default_head=next(iter(heads)), **settings
    )


def test_it_is_a_start_with_its_heads_and_the_eyes_that_a_recipe_names(tmp_path):
    directory = save_jasper(tmp_path / "jasper")
    whole = load_jasper(directory)
    heads = {"vector_linear_8": 8, "fc1": 12}
    config = start(directory, heads, vision=VisionConfig(start=str(directory), tokens=3))
    student = load_start(config)
    assert list(student.heads) == [f"vector_linear_{width}" for width in WIDTHS]
    assert student.add_heads(heads, seed=0) == ["fc1"]
    before = student.text.get_input_embeddings().weight.clone()
    add_vision(student, config.vision, seed=0)
    assert torch.equal(before, student.text.get_input_embeddings().weight)
    for part in ("text", "vision"):
        mine, theirs = getattr(student, part).state_dict(), getattr(whole, part).state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert torch.equal(
        student.heads["vector_linear_8"].weight, whole.heads["vector_linear_8"].weight
    )


def without(name):
    def spoil(directory):
        weights = load_file(directory / "model.safetensors")
        del weights[name]
        write_weights(directory, weights)

    return spoil


def with_config(**changes):
    def spoil(directory):
        config = json.loads((directory / "config.json").read_text())
        (directory / "config.json").write_text(json.dumps(config | changes))

    return spoil


def narrow(directory):
    weights = load_file(directory / "model.safetensors")
    weights["vector_linear_4.weight"] = torch.zeros(4, HIDDEN - 1)
    write_weights(directory, weights)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without("model.norm.weight"), "lacks 1 of the model's weights, the first is norm.weight"),
        (without("vision_model.vision_model.post_layernorm.bias"), "vision tower's weights"),
        (without("vector_linear_16.weight"), "names the head vector_linear_16, which is not"),
        (without("vector_linear_8.bias"), r"lacks the tensor vector_linear_8\.bias"),
        (narrow, r"vector_linear_4\.weight in .* has the shape \(4, 31\), expected \(4, 32\)"),
        (with_config(num_img_tokens=None), "the first is num_img_tokens"),
        (with_config(img_token_id=7), "with the id 7"),
        (with_config(text_config={"model_type": "bert"}), "of the type 'bert', expected 'qwen2'"),
        (lambda d: (d / "preprocessor_config.json").unlink(), "holds no image processor"),
        (lambda d: (d / "model.safetensors").write_bytes(b"no"), "safetensors"),
    ],
)
def test_an_incomplete_one_is_a_sentence(tmp_path, spoil, sentence):
    directory = save_jasper(tmp_path / "jasper")
    spoil(directory)
    with pytest.raises(PipeError, match=sentence):
        load_jasper(directory)


def test_a_head_that_it_does_not_have_is_a_sentence(tmp_path):
    directory = save_jasper(tmp_path / "jasper")
    with pytest.raises(PipeError, match=r"vector_linear_7 is not in .* vector_linear_48, "):
        load_start(start(directory, {"vector_linear_7": 7}))
