"""Static embeddings as teachers: sentence-transformers' own module, and model2vec's directories."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from data_prep.errors import PipeError
from teacher_cache.encoders import load_encoder
from teacher_cache.models import model_directory
from teacher_cache.teachers import TEACHERS
from tests.teacher_cache.small import dummy

MINILM = TEACHERS["all-minilm-l6-v2"].model
TEXTS = ["one", "a longer text about rivers " * 6, "naïve 東京 🚀", "What is it?"]


def test_a_static_model_runs(tmp_path: Path) -> None:
    weights = model_directory(MINILM)
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    static = StaticEmbedding(tokenizer, embedding_dim=32)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"))
    teacher = dummy(kind="sentence-transformers", model=str(tmp_path / "static"), dim=32)
    vectors = load_encoder(teacher, "cpu").encode(TEXTS, ["passage"] * len(TEXTS))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


@pytest.fixture
def model2vec(tmp_path: Path) -> Path:
    """A directory as `StaticModel.save_pretrained` of model2vec writes it."""
    directory = tmp_path / "model2vec"
    directory.mkdir()
    tokenizer = model_directory(MINILM) / "tokenizer.json"
    shutil.copy(tokenizer, directory)
    rows = json.loads(tokenizer.read_text())["model"]["vocab"]
    table = np.random.default_rng(1).standard_normal((len(rows), 24), np.float32)
    save_file({"embeddings": table}, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps({"model_type": "model2vec"}))
    modules = ("StaticEmbedding", "Normalize")
    listed = [
        {
            "idx": place,
            "name": str(place),
            "path": "." if place == 0 else "1_Normalize",
            "type": f"sentence_transformers.models.{name}",
        }
        for place, name in enumerate(modules)
    ]
    (directory / "modules.json").write_text(json.dumps(listed))
    return directory


def test_a_model2vec_directory_runs_as_well(model2vec: Path) -> None:
    teacher = dummy(kind="sentence-transformers", model=str(model2vec), dim=24, max_tokens=16)
    encoder = load_encoder(teacher, "cpu")
    words = "water " * 40
    found = encoder.encode(["some words", words, words[:96], "a b " * 25_000], ["passage"] * 4)
    table = load_file(model2vec / "model.safetensors")["embeddings"]
    tokenizer = Tokenizer.from_file(str(model2vec / "tokenizer.json"))
    tokenizer.no_padding()
    ids = tokenizer.encode("some words", add_special_tokens=False).ids
    wanted = table[ids].mean(0)
    np.testing.assert_allclose(found[0], wanted / np.linalg.norm(wanted), atol=1e-5)
    np.testing.assert_allclose(found[1], found[2], atol=1e-6)  # both are cut off
    assert np.isfinite(found).all()
    with pytest.raises(PipeError, match=r"text 1 of 2 has no tokens for .* \(''\)"):
        encoder.encode(["words", ""], ["passage"] * 2)
    with pytest.raises(PipeError, match="lone surrogate"):
        encoder.encode(["\ud83d"], ["passage"])
